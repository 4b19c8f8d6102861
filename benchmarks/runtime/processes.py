"""The processes of one run, as `torchrun --nproc-per-node N -m benchmarks.run ...` starts them.

The first process writes the run folder and prints; the others compute the same and write nothing. If one is lost, the
others end too, and the same command resumes the run after the last finished task.
"""

import os

from benchmarks.config.errors import UserError


VARIABLES = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # torchrun sets all of them


def count() -> int:
    """Returns how many processes torchrun has started for this run; 1 without torchrun.

    It is 1 too where `WORLD_SIZE` holds no number of processes; `check` refuses such a value.
    """
    return max(number("WORLD_SIZE") or 1, 1)


def is_first() -> bool:
    """Returns whether this process is the first of the run (rank 0), which alone writes the run folder and prints.

    The only process of a run is the first, whatever rank another launcher has left in the environment.
    """
    return count() == 1 or not number("RANK")


def number(variable: str) -> int | None:
    """Returns the whole number that an environment variable holds; None if it holds none.

    Args:
        variable: its name, such as `RANK`.
    """
    try:
        return int(os.environ.get(variable, ""))
    except ValueError:
        return None


def check(strategy: str, batch: int, data_parallel: bool) -> None:
    """Checks that a run can be shared by the processes that torchrun started.

    Args:
        strategy: the strategy's name, for the message.
        batch: number of training images in a step, over all processes.
        data_parallel: whether the method's loss can be computed on parts of a batch; if not, it needs one process.

    Raises:
        UserError: the batch cannot be divided evenly, the method needs one process, or a variable of torchrun is
            missing or has a value that torchrun never gives it.
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
    _check_variables()


def _check_variables() -> None:
    """Raises UserError for variables by which this process cannot find the others of its run."""
    world = os.environ.get("WORLD_SIZE")
    if world and (number("WORLD_SIZE") or 0) < 1:
        raise UserError(f"WORLD_SIZE={world}: no number of processes; start it by torchrun, or unset WORLD_SIZE")
    if count() == 1:
        return
    limits = {"RANK": count(), "LOCAL_RANK": count(), "MASTER_PORT": 2**16}
    for name in VARIABLES:
        value, limit = os.environ.get(name), limits.get(name)
        if not value:
            wrong = f"{name} is not"
        elif limit and (number(name) is None or not 0 <= int(value) < limit):
            wrong = f"{name}={value} is no number from 0 to {limit - 1}"
        else:
            continue
        raise UserError(f"WORLD_SIZE={world} is set and {wrong}; start it by torchrun, or unset WORLD_SIZE")
