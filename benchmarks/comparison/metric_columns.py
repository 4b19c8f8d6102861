"""The metrics of a run in tables: each has a heading, a function of the run, and a direction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.comparison.statistics import Measure
from benchmarks.runs.metrics import class_incremental
from benchmarks.runs.read import Run


@dataclass(frozen=True)
class Metric:
    """A metric as a column of a table.

    Attributes:
        heading: its name in tables and figures, such as `Transfer`.
        key: its name in csv files, such as `transfer`; that of learning accuracy is `right_after`.
        of: takes a run and returns the metric's value in percent, or for forgetting in percentage points; None where it
            is undefined.
        more_is_better: whether larger values are better.
    """

    heading: str
    key: str
    of: Measure
    more_is_better: bool = True


def headline(identity: str) -> list[Metric]:
    """Returns the metrics that tables show of an accuracy matrix, in the order of the columns.

    They are Transfer, Avg, Last, forgetting and learning accuracy, or only Avg and Last of the class-incremental
    matrix. Their values are in percent, forgetting in percentage points. For a run that learns all tasks at once, the
    task-aware and task-agnostic values are None except Last.

    Args:
        identity: `known` (task-aware), `unknown` (task-agnostic) or `seen` (class-incremental).
    """
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


def metric(identity: str, key: str) -> Metric:
    """Returns a metric of `headline`.

    Args:
        identity: `known` (task-aware) or `unknown` (task-agnostic).
        key: its name in csv files.
    """
    return next(each for each in headline(identity) if each.key == key)


def learning_accuracy(run: Run, identity: str) -> float | None:
    """Returns the mean over tasks of the accuracy on a task that has just been learned, in percent.

    It is None for a run that learns all tasks at once, or if one of these accuracies was not measured.

    Args:
        run: the run.
        identity: `known` (task-aware), `unknown` (task-agnostic) or `seen` (class-incremental).
    """
    mean = float(np.diagonal(run.accuracy[identity][1:]).mean())
    return None if np.isnan(mean) or run.learns_at_once else mean


def _seen(run: Run, name: str) -> float | None:
    if "seen" not in run.accuracy:
        return None
    return class_incremental(run.accuracy["seen"][1:], np.array(run.protocol.tests))[name]


def per_task(run: Run, identity: str, metric: str, tasks: Sequence[str]) -> list[float | None]:
    """Returns a metric of each task in percent, forgetting in percentage points, in the order of `tasks`.

    A value is None where it is undefined: Transfer of the first task, forgetting of the last, and what depends on an
    accuracy that was not measured. For a run that learns all tasks at once, only `last` is defined.

    Args:
        run: the run.
        identity: `known` (task-aware) or `unknown` (task-agnostic).
        metric: `transfer`, `avg`, `last`, `forgetting` or `zero_shot`.
        tasks: names of tasks of the run, in the order of the result.
    """
    if metric != "last" and run.learns_at_once:
        return [None] * len(tasks)
    values = dict(zip(run.tasks, run.metrics[identity]["per_task"][metric], strict=True))
    return [values[task] for task in tasks]


def of_task(identity: str, metric: str, task: str) -> Measure:
    """Returns the function that maps a run to a metric of one task, in percent; None where it is undefined.

    Args:
        identity: `known` (task-aware) or `unknown` (task-agnostic).
        metric: `transfer`, `avg`, `last`, `forgetting` (in percentage points) or `zero_shot`.
        task: the task's name.
    """
    return lambda run: per_task(run, identity, metric, [task])[0]


def trained(run: Run) -> tuple[int, int]:
    """Returns the number of trained parameters in the first and in the last task of a run, 0 where nothing was trained.

    Args:
        run: the run.
    """
    counts = run.cost["trained_parameters"]
    return (counts[0], counts[-1]) if counts else (0, 0)


def storage(run: Run) -> int:
    """Returns the most bytes that a run stored between two tasks, without the model itself; 0 if nothing was stored.

    Args:
        run: the run.
    """
    return max(run.cost["carried_bytes"], default=0)


def auxiliary_images(run: Run) -> int:
    """Returns the number of auxiliary images of a run: those that the method read besides the tasks' own; 0 if none.

    Args:
        run: the run.
    """
    return run.cost.get("reference_images", 0)


def memory(run: Run) -> int:
    """Returns the peak memory of a run in bytes: that allocated on the GPU if one was used, else the process's.

    Args:
        run: the run.
    """
    return run.cost.get("peak_gpu_memory_bytes") or run.cost["peak_memory_bytes"]


def training_seconds(run: Run) -> float:
    """Returns the seconds that all trainings of a run took together, including the decompositions (SVD) of weights.

    Args:
        run: the run.
    """
    seconds = run.cost["total_seconds"]
    return seconds["training"] + seconds.get("decomposition", 0)


def evaluation_seconds(run: Run) -> float:
    """Returns the seconds that all evaluations of a run took together: on all tasks, before any training and after each
    task.

    Args:
        run: the run.
    """
    return run.cost["total_seconds"]["evaluation"]


def machine(run: Run) -> str:
    """Returns the machine on which a run's times were measured: the name of its GPU, or without one that of the
    processor with the number of threads, as in `AMD EPYC 7B13, 2 threads`; of a run that went on elsewhere, each joined
    by `then`.

    Args:
        run: the run.
    """
    names = [_machine(part["hardware"]) for part in run.environments]
    return ", then ".join(name for name, before in zip(names, ["", *names], strict=False) if name != before)


def machines(runs: Sequence[Run]) -> list[str]:
    """Returns the machines on which the times of some runs were measured, each once, in alphabetical order.

    Args:
        runs: the runs.
    """
    return sorted({machine(run) for run in runs})


def _machine(hardware: dict[str, Any]) -> str:
    device = hardware.get("gpu") or hardware.get("processor") or "an unknown processor"
    threads = hardware.get("threads")
    return device if hardware.get("gpu") else f"{device}, {threads} thread{'' if threads == 1 else 's'}"
