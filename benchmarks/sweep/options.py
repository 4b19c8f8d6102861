"""How a sweep uses its machines."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.config.errors import UserError, shown
from benchmarks.sweep.values import is_number


LEAST_SHARE = 0.01  # of a GPU


@dataclass(frozen=True)
class Options:
    """How a sweep uses its machines.

    Attributes:
        address: of a Ray cluster; None for this machine.
        cpus: processors, and threads of torch, of a run.
        gpus: share of a GPU of a run, or a number of GPUs; 0 for none; None for one where there are GPUs.
        timeout: seconds after which a run that says nothing counts as lost.
        scratch: the folder of run folders on machines that do not see the results folder; None if all see it.

    Raises:
        UserError: a value has the wrong type or is out of range.
    """

    address: str | None = None
    cpus: int = 1
    gpus: float | None = None
    timeout: float = 3600.0
    scratch: Path | None = None

    def __post_init__(self) -> None:
        """Checks the values."""
        if not isinstance(self.cpus, int) or isinstance(self.cpus, bool) or self.cpus < 1:
            raise UserError(f"--cpus-per-run: expected a whole number from 1, got {shown(self.cpus)}")
        gpus = self.gpus or 0
        if not is_number(gpus) or gpus < 0 or 0 < gpus < LEAST_SHARE or (gpus > 1 and gpus != int(gpus)):
            raise UserError(
                f"--gpus-per-run: expected a share from {LEAST_SHARE} to 1, a whole number, or 0, got {shown(self.gpus)}"
            )
        if not is_number(self.timeout) or self.timeout <= 0:
            raise UserError(f"--timeout: expected seconds above 0, got {shown(self.timeout)}")
        if self.address is not None and not (isinstance(self.address, str) and self.address.strip()):
            raise UserError(f"--address: expected HOST:PORT or auto, got {shown(self.address)}")
