"""What has to be in place before torch and Avalanche are imported: a home to write in, and memory that is kept."""

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
    """Lends a temporary home to what is imported inside where the user's own is absent or read-only.

    Importing Avalanche writes ~/.avalanche/config.json and fails where it can't; matplotlib keeps its font list there.
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
    """No garbage collection while modules are imported, which live to the end: a tenth of the time of torch and Avalanche."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # nor afterwards: whatever is there now stays
        atexit.register(gc.unfreeze)  # so that it can be taken apart in the end
        gc.enable()


def keep_freed_memory() -> None:
    """Has glibc keep what is freed, for the next tensor. On the CPU a step frees and takes gigabytes, and where they go back
    to the system in between, touching them anew costs up to a third of the step. Elsewhere than under glibc: nothing.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  # not musl, whose mallopt does nothing
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)
