"""How much memory this process holds and has held."""

import resource
import sys

import psutil
import torch


def resident_bytes() -> int:
    """Memory that this process holds now, pages of mapped files included."""
    return psutil.Process().memory_info().rss


def peak_host_bytes() -> int:
    """Peak resident memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


def peak_gpu_bytes() -> int | None:
    """Peak memory allocated by torch on this process's GPU; None where it has used none."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None
