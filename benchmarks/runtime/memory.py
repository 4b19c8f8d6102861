"""The current and peak memory of this process."""

import resource
import sys

import psutil
import torch


def resident_bytes() -> int:
    """Returns the resident memory of this process in bytes, including pages of mapped files."""
    return psutil.Process().memory_info().rss


def peak_host_bytes() -> int:
    """Returns the peak resident memory of this process since its start, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


def peak_gpu_bytes() -> int | None:
    """Returns the peak memory allocated by torch on this process's GPU in bytes; None if it has used none."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None
