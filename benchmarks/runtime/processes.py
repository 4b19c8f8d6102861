"""One run in several processes, as `torchrun --nproc-per-node N -m benchmarks.run ...` starts them: joined, and ended together.

The first process writes the run folder and speaks; the others compute the same and write nothing. When one is lost, the others
end too, and the same command goes on after the last finished task.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from benchmarks.config.errors import UserError


VARIABLES = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # torchrun sets all of them
PATIENCE = timedelta(hours=2)  # for the slowest: the first process may decode all images while the others wait


def count() -> int:
    """How many processes torchrun has started for this run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the one that writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def check(strategy: str, batch: int, data_parallel: bool) -> None:
    """Raises UserError for a global batch that can't be shared out evenly, a method whose loss can't, or half a torchrun."""
    if count() > 1 and not data_parallel:
        raise UserError(
            f"--strategy {strategy}: its training looks at a batch as a whole, so it runs in one process only; "
            "leave torchrun out"
        )
    if batch % count():
        raise UserError(
            f"--batch-size {batch}: can't be shared evenly by {count()} processes; "
            f"take a multiple of {count()}, or another --nproc-per-node"
        )
    missing = [name for name in VARIABLES if name not in os.environ]
    if count() > 1 and missing:
        raise UserError(
            f"WORLD_SIZE={count()} is set and {missing[0]} is not; start it by torchrun, or unset WORLD_SIZE"
        )


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Connects the processes of this run while it lasts; alone, nothing.

    Args:
        device: `cpu` or `cuda`, of which each process takes the one of its local rank.

    Raises:
        UserError: fewer GPUs than processes; another process was lost.
    """
    if count() == 1:
        yield
        return
    import torch
    import torch.distributed as dist

    if device == "cuda":
        wanted, there = int(os.environ.get("LOCAL_WORLD_SIZE", count())), torch.cuda.device_count()
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
