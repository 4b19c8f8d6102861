"""Connects the processes of one run through torch.distributed, and ends all of them when one fails."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Timer

import torch
import torch.distributed as dist

from benchmarks.config.errors import OwnError, UserError
from benchmarks.config.terminal import say
from benchmarks.runtime import processes


PATIENCE = timedelta(hours=2)  # the first process may decode all images while the others wait
TO_MEET = timedelta(minutes=10)  # from the first to start to the last, which may import torch from a slow disk
SPEAKS = 20  # seconds of waiting for another process, after which one says so


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Context manager inside which the processes that torchrun started can use `torch.distributed`.

    It sets up the process group, NCCL on `cuda` and gloo on `cpu`; in a run of one process it does nothing.

    Args:
        device: `cpu` or `cuda`; on `cuda` each process uses the GPU whose index is its local rank.

    Raises:
        UserError: this machine has fewer GPUs than processes, or another process ended, cannot be reached or has not
            come within ten minutes.
    """
    if processes.count() == 1:
        yield
        return
    if device == "cuda":
        wanted, there = processes.number("LOCAL_WORLD_SIZE") or processes.count(), torch.cuda.device_count()
        if wanted > there:
            raise UserError(f"--nproc-per-node {wanted}: {there} CUDA devices here; at most one process for each")
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(
        "nccl" if device == "cuda" else "gloo",
        store=_met(), rank=processes.number("RANK") or 0, world_size=processes.count(), timeout=PATIENCE,
    )  # fmt: skip
    try:
        yield
    except dist.DistError as error:
        raise _lost(error) from error
    except RuntimeError as error:  # gloo raises a plain one
        if "gloo" in str(error).lower() or "connection" in str(error).lower():
            raise _lost(error) from error
        raise
    dist.destroy_process_group()  # not after an error: it would wait for processes that never call it


def _met() -> dist.Store:
    """Returns the store through which all processes of the run find each other, once all of them are there.

    Where the variables of torchrun are left over from something else, nobody ever comes.
    """
    others = f"the other processes of WORLD_SIZE={processes.count()}"
    where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    timer = Timer(SPEAKS, say, [f"process {processes.number('RANK')} waits for {others} at {where}"])
    timer.start()
    try:
        store, rank, count = next(dist.rendezvous("env://", timeout=TO_MEET))
        store.set(f"nusa-bench/{rank}", "here")
        store.wait([f"nusa-bench/{each}" for each in range(count)], TO_MEET)
    except dist.DistError as error:
        if "EADDRINUSE" in str(error):
            raise OwnError(f"MASTER_PORT: {where} is in use; choose another, or unset WORLD_SIZE") from error
        raise OwnError(
            f"{others} have not come to {where} within {TO_MEET}; start all by torchrun, or unset WORLD_SIZE"
        ) from error
    finally:
        timer.cancel()
    store.set_timeout(PATIENCE)  # torch does so with a store that it makes itself
    return store


def meet() -> None:
    """Waits until all processes of the run have called it; returns at once in a run of one process."""
    if dist.is_initialized():
        dist.barrier()


def _lost(error: Exception) -> UserError:
    said = str(error).strip().partition("\n")[0].partition(". ")[0]  # the first sentence; gloo's advice follows
    return UserError(
        f"another process of this run was lost, or can't be reached ({said}); "
        "the same command goes on after the last finished task"
    )
