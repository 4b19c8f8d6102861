"""The current and peak memory of this process, and the free memory of the machine."""

import contextlib
import ctypes
import gc
import re
import resource
import sys
from pathlib import Path

import psutil
import torch
from rich.filesize import decimal


LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container, in bytes, or `max` for none
STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


def free_bytes(device: str) -> int:
    """Returns the bytes of memory that this process could still take: of the machine or its container, or of its GPU.

    Args:
        device: `cpu` or `cuda`.
    """
    if device == "cuda":
        return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    _return_freed()  # what malloc keeps is free too
    free: int = psutil.virtual_memory().available
    with contextlib.suppress(OSError, ValueError):  # no such file, or no limit
        free = min(free, int(LIMIT.read_text(encoding="ascii")) - resident_bytes())
    return max(free, 0)


def lacking(needed: int, free: int, fitting: int = 0) -> str:
    """Returns the end of an error about what memory cannot hold: how much it needs, how much is free, and what would fit.

    Such as `at least 12.0 GB, and 3.4 GB of memory are free here; at most 8 would fit`.

    Args:
        needed: the bytes that it takes at least.
        free: the bytes that are free.
        fitting: the largest value of its setting that would fit; 0 if none would, or if that is not known.
    """
    words = f"at least {decimal(needed)}, and {decimal(free)} of memory are free here"
    return words + (f"; at most {fitting} would fit" if fitting else "")


def resident_bytes() -> int:
    """Returns the resident memory of this process in bytes, including pages of mapped files."""
    return psutil.Process().memory_info().rss


def restart_peaks() -> None:
    """Lets `peak_host_bytes` and `peak_gpu_bytes` count from now on, for a process that does one run after another.

    What earlier runs left to be freed is given back first. Where the system cannot do so (other than Linux), the first of
    them still counts from the start of the process.
    """
    gc.collect()
    _return_freed()
    with contextlib.suppress(OSError):
        CLEAR.write_text("5", encoding="ascii")  # proc(5): the peak becomes the present resident memory
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _return_freed() -> None:
    """Returns the memory that malloc keeps (see `keep_freed_memory`) to the system, under glibc."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def peak_host_bytes() -> int:
    """Returns the peak resident memory of this process since `restart_peaks`, or since its start, in bytes."""
    # `ru_maxrss` is on Linux at least that of the process that started this one: a small run begun by a large one.
    with contextlib.suppress(OSError):
        if found := re.search(
            r"^VmHWM:\s*(\d+) kB$", STATUS.read_text(encoding="ascii", errors="replace"), re.MULTILINE
        ):
            return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


def peak_gpu_bytes() -> int | None:
    """Returns the peak memory allocated by torch on this process's GPU since `restart_peaks`, or since its start, in bytes.

    None if it has used no GPU.
    """
    return torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None
