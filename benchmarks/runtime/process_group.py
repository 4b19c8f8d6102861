"""The processes of one run, connected while it lasts and ended together (torch.distributed)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from benchmarks.config.errors import UserError
from benchmarks.runtime import processes


PATIENCE = timedelta(hours=2)  # for the slowest: the first process may decode all images while the others wait


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Connects the processes of this run while it lasts; alone, nothing.

    Args:
        device: `cpu` or `cuda`, of which each process takes the one of its local rank.

    Raises:
        UserError: fewer GPUs than processes; another process was lost.
    """
    if processes.count() == 1:
        yield
        return
    if device == "cuda":
        wanted, there = int(os.environ.get("LOCAL_WORLD_SIZE", processes.count())), torch.cuda.device_count()
        if wanted > there:
            raise UserError(f"--nproc-per-node {wanted}: {there} CUDA devices here; at most one process for each")
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield
    except dist.DistError as error:
        raise _lost(error) from error
    except RuntimeError as error:  # gloo raises a plain one
        if "gloo" in str(error).lower() or "connection" in str(error).lower():
            raise _lost(error) from error
        raise
    dist.destroy_process_group()  # only here: after an error the others never come to it, and it would wait for them


def _lost(error: Exception) -> UserError:
    said = str(error).strip().partition("\n")[0].partition(". ")[0]  # then gloo goes on to advise, with a smile
    return UserError(
        f"another process of this run was lost, or can't be reached ({said}); "
        "the same command goes on after the last finished task"
    )
