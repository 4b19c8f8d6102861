"""The cost ledger: what a method trains, stores between tasks, and takes in time and memory."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any


TIMED = ("training", "decomposition", "evaluation", "spectrum", "saving")


@dataclass
class Ledger:
    """Lists have one figure for each task; `evaluation`, `spectrum` and `saving` also one for the state before any training.

    Attributes:
        trained_parameters: that the optimiser saw.
        carried_bytes: kept from task to task besides the model itself.
        reference_images, reference_texts: read besides the tasks' own.
        training, decomposition, evaluation, spectrum, saving: seconds; training does not count the decomposition within it,
            and saving is of the checkpoint and the tables, 0 where a run was stopped right after.
        peak_memory_bytes: of the process; over a resumed run the largest of its parts.
        peak_gpu_memory_bytes: allocated on the device, None on the CPU.
    """

    trained_parameters: list[int] = field(default_factory=list)
    carried_bytes: list[int] = field(default_factory=list)
    reference_images: int = 0
    reference_texts: int = 0
    training: list[float] = field(default_factory=list)
    decomposition: list[float] = field(default_factory=list)
    evaluation: list[float] = field(default_factory=list)
    spectrum: list[float] = field(default_factory=list)
    saving: list[float] = field(default_factory=list)
    peak_memory_bytes: int = 0
    peak_gpu_memory_bytes: int | None = None

    def note_memory(self, host: int, gpu: int | None) -> None:
        """Raises the peaks to what the process and its GPU (None without one) have used so far, in bytes."""
        self.peak_memory_bytes = max(self.peak_memory_bytes, host)
        if gpu is not None:
            self.peak_gpu_memory_bytes = max(self.peak_gpu_memory_bytes or 0, gpu)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Appends the seconds of a block to one of the lists."""
        began = time.perf_counter()
        yield
        getattr(self, what).append(time.perf_counter() - began)

    def as_json(self) -> dict[str, Any]:
        """Plain values; the seconds under one heading, with their sums."""
        values = asdict(self)
        seconds = {name: values.pop(name) for name in TIMED}
        return {**values, "seconds": seconds, "total_seconds": {name: sum(each) for name, each in seconds.items()}}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Ledger":
        """What `as_json` gave."""
        plain = {name: value for name, value in values.items() if name not in ("seconds", "total_seconds")}
        return cls(**plain, **values["seconds"])
