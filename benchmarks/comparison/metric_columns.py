"""The metrics of a run that tables show: each a heading, a function of the run, and which way is better."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.comparison.statistics import Measure
from benchmarks.runs.metrics import class_incremental
from benchmarks.runs.read import Run


@dataclass(frozen=True)
class Metric:
    """A column of a table.

    Attributes:
        heading: in tables and figures.
        key: in csv files and `metrics.json`.
        of: its value for a run, in percent or points; None where it is undefined.
    """

    heading: str
    key: str
    of: Measure
    more_is_better: bool = True


def headline(identity: str) -> list[Metric]:
    """The columns for a matrix of `benchmarks.runs.read.MATRICES`."""
    if identity == "seen":
        return [
            Metric("Avg", "avg", lambda run: _seen(run, "avg")),
            Metric("Last", "last", lambda run: _seen(run, "last")),
        ]

    def mean(name: str) -> Measure:
        return lambda run: None if name != "last" and run.learns_at_once else run.metrics[identity][name]

    return [
        Metric("Transfer", "transfer", mean("transfer")),
        Metric("Avg", "avg", mean("avg")),
        Metric("Last", "last", mean("last")),
        Metric("forgetting", "forgetting", mean("forgetting"), more_is_better=False),
        Metric("learning accuracy", "right_after", lambda run: learning_accuracy(run, identity)),
    ]


def learning_accuracy(run: Run, identity: str) -> float | None:
    """Mean over tasks of the accuracy on a task when it has just been learned, in percent."""
    mean = float(np.diagonal(run.accuracy[identity][1:]).mean())
    return None if np.isnan(mean) or run.learns_at_once else mean


def _seen(run: Run, name: str) -> float | None:
    if "seen" not in run.accuracy:
        return None
    return class_incremental(run.accuracy["seen"][1:], np.array(run.protocol.tests))[name]


def per_task(run: Run, identity: str, metric: str, tasks: Sequence[str]) -> list[float | None]:
    """A metric of each task by name, in the order of `tasks`."""
    if metric != "last" and run.learns_at_once:
        return [None] * len(tasks)
    values = dict(zip(run.tasks, run.metrics[identity]["per_task"][metric], strict=True))
    return [values[task] for task in tasks]


def of_task(identity: str, metric: str, task: str) -> Measure:
    """A metric of a single task, as a function of the run."""
    return lambda run: per_task(run, identity, metric, [task])[0]


def trained(run: Run) -> tuple[int, int]:
    """Trained parameters in the first and in the last training; 0 where there was none."""
    counts = run.cost["trained_parameters"]
    return (counts[0], counts[-1]) if counts else (0, 0)


def storage(run: Run) -> int:
    """Storage between tasks: the most bytes that the method kept besides the model."""
    return max(run.cost["carried_bytes"], default=0)


def auxiliary_images(run: Run) -> int:
    """Images that the method read besides the tasks' own."""
    return run.cost.get("reference_images", 0)


def memory(run: Run) -> int:
    """Peak memory in bytes: the GPU's where there was one."""
    return run.cost.get("peak_gpu_memory_bytes") or run.cost["peak_memory_bytes"]


def training_seconds(run: Run) -> float:
    """Training with decomposition."""
    seconds = run.cost["total_seconds"]
    return seconds["training"] + seconds.get("decomposition", 0)


def evaluation_seconds(run: Run) -> float:
    """Evaluation on all tasks after every task."""
    return run.cost["total_seconds"]["evaluation"]


def machine(run: Run) -> str:
    """The machine that the times were taken on."""
    hardware = run.about.get("hardware", {})
    device = hardware.get("gpu") or hardware.get("processor") or "an unknown processor"
    threads = hardware.get("threads")
    return device if hardware.get("gpu") else f"{device}, {threads} thread{'' if threads == 1 else 's'}"
