"""The environment of a run for its record: versions, commit and hardware."""

import importlib.metadata
import platform
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks import __version__
from benchmarks.runtime import processes, repository


RECORDED = ("torch", "torchvision", "avalanche-lib", "open_clip_torch", "numpy", "pandas", "pillow", "scikit-learn")


def _processor() -> str:
    """Returns the processor's model name if Linux states it, else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def describe(device: str) -> dict[str, Any]:
    """Returns the environment of a run for `run.json`, without host name, user name or paths.

    The result has three dicts. `versions` has the version of `nusa-bench`, of `python` and of libraries such as `torch`,
    by name. `git` has `commit` (the hash) and `uncommitted_changes` (whether there are any), both None if this project
    does not run from its git repository. `hardware` has `device`, `gpu` and `processor` (model names; `gpu` is None on
    the CPU), `threads` (number that torch uses), `processes` (number in the run) and `platform`, such as `linux`.

    Args:
        device: `cpu` or `cuda`.
    """
    return {
        "versions": {
            "nusa-bench": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in RECORDED},
        },
        "git": repository.code_commit(),
        "hardware": {
            "device": device,
            "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
            "processor": _processor(),
            "threads": torch.get_num_threads(),
            "processes": processes.count(),
            "platform": sys.platform,
        },
    }
