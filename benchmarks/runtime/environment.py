"""Prepares the process before torch and Avalanche are imported: a writable home folder, fast imports, memory that is
reused.
"""

import atexit
import contextlib
import ctypes
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt(3)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@contextmanager
def writable_home() -> Iterator[None]:
    """Context manager that sets HOME to a temporary folder if the user's home is missing or read-only.

    Importing Avalanche writes ~/.avalanche/config.json and fails if it cannot; matplotlib stores its font list in the
    temporary folder too. HOME is restored on leaving the context, and the folder is deleted when the process ends.
    """
    if _writable(Path(os.path.expanduser("~"), ".avalanche")):
        yield
        return
    kept = os.environ.get("HOME")
    home = tempfile.mkdtemp(prefix="nusa-bench-home-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ["HOME"] = home
    os.environ.setdefault("MPLCONFIGDIR", home)
    try:
        yield
    finally:
        os.environ.pop("HOME")
        if kept is not None:
            os.environ["HOME"] = kept


@contextmanager
def quick_imports() -> Iterator[None]:
    """Context manager, for use around imports, inside which Python's garbage collector does not run.

    Collecting would take a tenth of the imports' time and free nothing. On leaving, the collector is enabled again, and
    passes over all objects that exist then. A second use in a process does nothing.
    """
    if not gc.isenabled() or gc.get_freeze_count():  # done before: freezing again would keep a former run's model
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # modules stay, so the collector need not look at them later
        atexit.register(gc.unfreeze)  # at exit they can be freed
        gc.enable()


def keep_freed_memory() -> None:
    """Configures glibc's `malloc` to keep freed memory for the next tensor; does nothing under other C libraries.

    On the CPU a training step allocates and frees gigabytes. If they are returned to the system each time, the page
    faults cost up to a third of the step.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  # raises under musl, whose mallopt does nothing
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)
