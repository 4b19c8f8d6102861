"""What a run stands on: versions, commit and hardware for the record, a device, and a home that Avalanche can write in."""

import atexit
import contextlib
import ctypes
import gc
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import __version__
from benchmarks.config.errors import UserError
from benchmarks.config.registry import ROOT
from benchmarks.config.settings import Device
from benchmarks.runtime import processes


RECORDED = ("torch", "torchvision", "avalanche-lib", "open_clip_torch", "numpy", "pandas", "pillow", "scikit-learn")
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


def pick_device(wanted: Device) -> Device:
    """`auto`, `cpu` or `cuda` to `cpu` or `cuda`. Raises UserError for CUDA that is not there."""
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here; use --device cpu or auto")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    """The processor's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def describe(device: str) -> dict[str, Any]:
    """Versions, commit and hardware, for `run.json`. No host name, user name or path."""
    import torch

    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    return {
        "versions": {
            "nusa-bench": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in RECORDED},
        },
        "git": {"commit": commit, "uncommitted_changes": bool(changes) if commit else None},
        "hardware": {
            "device": device,
            "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
            "processor": _processor(),
            "threads": torch.get_num_threads(),
            "processes": processes.count(),
            "platform": sys.platform,
        },
    }


def keep_freed_memory() -> None:
    """Has glibc keep what is freed, for the next tensor. On the CPU a step frees and takes gigabytes, and where they go back
    to the system in between, touching them anew costs up to a third of the step. Elsewhere than under glibc: nothing.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  # not musl, whose mallopt does nothing
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)
