"""How a sweep uses its machines."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """How a sweep uses its machines.

    Attributes:
        address: of a Ray cluster; None for this machine.
        cpus: processors, and threads of torch, of a run.
        gpus: share of a GPU of a run; 0 for none.
        timeout: seconds after which a run that says nothing counts as lost.
        scratch: the folder of run folders on machines that do not see the results folder; None if all see it.
    """

    address: str | None = None
    cpus: int = 1
    gpus: float = 0.0
    timeout: float = 3600.0
    scratch: Path | None = None
