"""Prepares the process before torch and Avalanche are imported: a writable home folder, any backend of matplotlib's,
fast imports, memory that is reused.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.config.errors import UserError


M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt(3)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@contextmanager
def ready_for_avalanche() -> Iterator[None]:
    """Context manager inside which Avalanche can be imported, whatever the user's home and matplotlib's settings are.

    HOME is a temporary folder there if the user's home is missing or read-only: importing Avalanche writes
    ~/.avalanche/config.json and fails if it cannot, and matplotlib stores its font list in the temporary folder too. HOME
    is restored on leaving the context, and the folder is deleted when the process ends.

    Raises:
        UserError: matplotlib, which Avalanche imports, cannot be imported.
    """
    home = Path(os.path.expanduser("~"))
    if home.is_absolute() and _writable(home / ".avalanche"):
        import_matplotlib()
        yield
        return
    kept = os.environ.get("HOME")
    temporary = tempfile.mkdtemp(prefix="nusa-bench-home-")
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    os.environ["HOME"] = temporary
    os.environ.setdefault("MPLCONFIGDIR", temporary)
    try:
        import_matplotlib()
        yield
    finally:
        os.environ.pop("HOME")
        if kept is not None:
            os.environ["HOME"] = kept


def import_matplotlib() -> None:
    """Imports matplotlib, also where the environment variable MPLBACKEND names no backend that is installed here.

    A notebook leaves such a name to what it starts. Figures are only written to files, for which none is needed; one that
    is installed is left as it is.

    Raises:
        UserError: the user's matplotlibrc cannot be read.
    """
    if "matplotlib" in sys.modules:
        return
    named, level = os.environ.pop("MPLBACKEND", ""), logging.root.manager.disable
    logging.disable(logging.WARNING)  # of settings that no figure here reads, of folders that it does without
    try:
        matplotlib = importlib.import_module("matplotlib")
    except Exception as error:  # of a file that is no text, of a locale that it names
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"matplotlib cannot be imported ({why}); mend its matplotlibrc, or move it away") from error
    finally:
        logging.disable(level)
        if named:
            os.environ["MPLBACKEND"] = named
    if named:
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = named


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
