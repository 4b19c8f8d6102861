"""Locks between processes, for folders that only one of them may write into; a process that waits learns for whom."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from benchmarks.config.errors import UserError
from benchmarks.runtime import files


LOCK, HOLDER = ".lock", ".holder"
SOON = 1  # seconds, for which nobody needs to be told


@contextmanager
def locked(folder: Path, on_held: Callable[[str, str], None], soon: float = SOON) -> Iterator[None]:
    """Context in which this process alone holds the lock of a folder; if another one holds it, it waits for that.

    The operating system releases the lock when its process ends, however it does. On a disk without such locks the file
    `.lock` stays behind; it counts no more once its process has ended, which only the same machine can tell.

    Args:
        folder: the folder, which must exist.
        on_held: called once if another process has held the lock for a moment, with who that is (`process 17 on
            node3`) and since when, for instance to print it; if it raises, the context is not entered.
        soon: seconds of that moment.

    Raises:
        OSError: the lock cannot be taken in this folder.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=soon)
    except Timeout:
        on_held(*_who(folder))
        lock.acquire()
    try:
        with contextlib.suppress(UserError):  # the disk is full: the others then learn less
            files.write_text(folder / HOLDER, f"{os.getpid()}\n{socket.gethostname()}\n")
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / HOLDER).unlink()
        lock.release()


def is_held(folder: Path) -> bool:
    """Returns whether a process says that it holds the lock of a folder, without trying to take it.

    A process of this machine counts only while it lives; that one on another machine lives cannot be seen.

    Args:
        folder: the folder, which need not exist.
    """
    try:
        process, host = _holder(folder)
        return host != socket.gethostname() or psutil.pid_exists(int(process))
    except (OSError, ValueError, OverflowError):
        return False


def _holder(folder: Path) -> tuple[str, str]:
    """Returns the number of the process that holds the lock of a folder, and its machine; raises OSError or ValueError."""
    if not (folder / HOLDER).is_file():  # a pipe would never end
        raise FileNotFoundError(folder / HOLDER)
    process, host = (folder / HOLDER).read_text(encoding="utf-8").splitlines()
    return process, host


def _who(folder: Path) -> tuple[str, str]:
    """Returns who holds the lock of a folder, and since when, in words."""
    try:
        process, host = _holder(folder)
        since = datetime.fromtimestamp((folder / HOLDER).stat().st_mtime)
    except (OSError, ValueError, OverflowError):
        return "another process", "an unknown time"
    place = "" if host == socket.gethostname() else f" on {host}"
    return f"process {process}{place}", f"{since:%Y-%m-%d %H:%M}"
