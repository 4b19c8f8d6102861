"""The processes of one run, as `torchrun --nproc-per-node N -m benchmarks.run ...` starts them.

The first process writes the run folder and prints; the others compute the same and write nothing. If one is lost, the
others end too, and the same command resumes the run after the last finished task.
"""

import os

from benchmarks.config.errors import UserError


VARIABLES = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # torchrun sets all of them


def count() -> int:
    """Returns how many processes torchrun has started for this run; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Returns whether this process is the first of the run (rank 0), which alone writes the run folder and prints."""
    return int(os.environ.get("RANK", "0")) == 0


def check(strategy: str, batch: int, data_parallel: bool) -> None:
    """Checks that a run can be shared by the processes that torchrun started.

    Args:
        strategy: the strategy's name, for the message.
        batch: number of training images in a step, over all processes.
        data_parallel: whether the method's loss can be computed on parts of a batch; if not, it needs one process.

    Raises:
        UserError: the batch cannot be divided evenly, the method needs one process, or a variable of torchrun is
            missing.
    """
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
