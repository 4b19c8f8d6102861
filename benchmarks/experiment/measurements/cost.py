"""The cost of each task: trained parameters, storage, time and memory (`cost.json` holds the whole ledger)."""

from collections.abc import Iterator
from typing import Any

from benchmarks.experiment.measurements.base import Measurement, RunState
from benchmarks.runs.columns import Column


class Meter(Measurement):
    """Measures the cost of each task and evaluation: one row of `cost.csv` for each evaluation.

    Before any training the columns that describe training are empty.
    """

    table = "cost"
    keys = ("after",)
    columns = (
        Column("after", "integer", "state: the number of tasks learned, 0 to T", since="1.0"),
        Column(
            "trained_parameters",
            "integer",
            "parameters that the optimiser saw in the task just learned, or values fitted in closed form",
            since="1.0",
        ),
        Column("carried_bytes", "integer", "storage between tasks besides the model itself", "bytes", since="1.0"),
        Column("training_seconds", "number", "training of the task, without decompositions", "seconds", since="1.0"),
        Column(
            "decomposition_seconds", "number", "decompositions that the method used in the task", "seconds", since="1.0"
        ),
        Column("evaluation_seconds", "number", "evaluation on all tasks in this state", "seconds", since="1.0"),
        Column("peak_memory_bytes", "integer", "most memory of the process so far, in this run", "bytes", since="1.0"),
        Column(
            "peak_gpu_memory_bytes",
            "integer",
            "most memory allocated on the GPU so far; empty without one",
            "bytes",
            since="1.0",
        ),
    )

    def measure(self, run: RunState) -> Iterator[dict[str, Any]]:
        """Yields one row, the cost of the task just learned and of the evaluation after it, with these keys.

        `after` is the number of tasks learned. `trained_parameters` counts parameters, `carried_bytes` is the storage
        between tasks in bytes, `training_seconds` and `decomposition_seconds` are seconds; these four are None before
        any training. Training does not include the decompositions. `evaluation_seconds` is the time of the evaluation.
        `peak_memory_bytes` and `peak_gpu_memory_bytes` (None without a GPU) are the peaks of the run so far.

        Args:
            run: the state of the run.
        """
        cost = run.cost
        trained = run.learned > 0
        yield {
            "after": run.learned,
            "trained_parameters": cost.trained_parameters[-1] if trained else None,
            "carried_bytes": cost.carried_bytes[-1] if trained else None,
            "training_seconds": cost.training[-1] if trained else None,
            "decomposition_seconds": cost.decomposition[-1] if trained else None,
            "evaluation_seconds": cost.evaluation[-1],
            "peak_memory_bytes": cost.peak_memory_bytes,
            "peak_gpu_memory_bytes": cost.peak_gpu_memory_bytes,
        }
