"""One run in several processes, as `torchrun --nproc-per-node N -m benchmarks.run ...` starts them: joined, and ended together.

The first process writes the run folder and speaks; the others compute the same and write nothing. When one is lost, the others
end too, and the same command goes on after the last finished task.
"""

import os

from benchmarks.config.errors import UserError


VARIABLES = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # torchrun sets all of them


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
