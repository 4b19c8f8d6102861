"""The cost ledger: what a method trains and stores between tasks, and how much time and memory it needs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any


TIMED = ("training", "decomposition", "evaluation", "spectrum", "saving")


@dataclass
class Ledger:
    """The cost of a run so far: what it trained and stored, and how much time and memory it took.

    Each list has one value for each task in the order of learning; `evaluation`, `spectrum` and `saving` have one more
    at the front, from before any training.

    Attributes:
        trained_parameters: number of parameters that the optimiser saw in each task, or of values fitted in closed form.
        carried_bytes: storage between tasks besides the model itself, in bytes, after each task.
        reference_images, reference_texts: number of auxiliary images and texts, which the method reads besides the
            tasks' own.
        training: seconds of training, without the decompositions of weights in it.
        decomposition: seconds of these decompositions (SVD).
        evaluation: seconds of testing on all tasks.
        spectrum: seconds of all measurements, such as those of the weights' rank.
        saving: seconds of writing checkpoint and tables; 0 where a run was interrupted directly afterwards.
        peak_memory_bytes: most memory of the process during the run; of a resumed run the maximum over its starts.
        peak_gpu_memory_bytes: most memory allocated on the GPU, likewise; None without one.
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
        """Raises the recorded peaks to these values, if larger.

        Args:
            host: peak memory of the process so far, in bytes.
            gpu: peak memory allocated on its GPU so far, in bytes; None without a GPU.
        """
        self.peak_memory_bytes = max(self.peak_memory_bytes, host)
        if gpu is not None:
            self.peak_gpu_memory_bytes = max(self.peak_gpu_memory_bytes or 0, gpu)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Context manager that measures its block and appends the seconds to one of the lists, unless the block raises.

        Args:
            what: the list: `training`, `decomposition`, `evaluation`, `spectrum` (measurements) or `saving`.
        """
        began = time.perf_counter()
        yield
        getattr(self, what).append(time.perf_counter() - began)

    def as_json(self) -> dict[str, Any]:
        """Returns the content of `cost.json`: the attributes by name, but the times one level lower.

        The key `seconds` holds a dict of the lists of times by their names, and `total_seconds` a dict of their sums.
        """
        values = asdict(self)
        seconds = {name: values.pop(name) for name in TIMED}
        return {**values, "seconds": seconds, "total_seconds": {name: sum(each) for name, each in seconds.items()}}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Ledger":
        """Returns the ledger that `cost.json` holds.

        Args:
            values: the content of `cost.json`, as `as_json` returned it.
        """
        plain = {name: value for name, value in values.items() if name not in ("seconds", "total_seconds")}
        return cls(**plain, **values["seconds"])
