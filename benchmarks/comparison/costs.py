"""What a method costs: each column of the cost table, what its value includes, and which accuracy it buys."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.comparison import metric_columns
from benchmarks.comparison.frontier import front
from benchmarks.comparison.groups import Group, Method
from benchmarks.comparison.statistics import Spread, over_orders, spread
from benchmarks.runs.read import Run


@dataclass(frozen=True)
class Cost:
    """A cost of a run as a column of a table, or as an axis of a figure.

    Attributes:
        key: its name on the command line, such as `training_seconds`.
        heading: its name in tables and figures, such as `training time`.
        of: takes a run and returns its cost.
        show: turns a cost into text with its unit, such as `6.5 min`.
        includes: what is counted, as the end of a sentence.
        is_measured: whether it depends on the machine.
    """

    key: str
    heading: str
    of: Callable[[Run], float]
    show: Callable[[float], str]
    includes: str
    is_measured: bool = False


def thousands(number: float) -> str:
    """Returns a number as text without decimals, with a narrow space that does not break lines before each three digits.

    Args:
        number: the number.
    """
    return f"{round(number):,}".replace(",", "\u202f")


def size(number: float) -> str:
    """Returns a number of bytes as text, in powers of a thousand: `1.5 MB`; below a thousand without a unit.

    Args:
        number: the number of bytes.
    """
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= unit:
            return f"{number / unit:.1f} {name}"
    return f"{number:.0f}"


def duration(seconds: float) -> str:
    """Returns a time as text, in seconds, minutes (from 300 seconds) or hours (from two): `6.5 min`.

    Args:
        seconds: the time in seconds.
    """
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 300 else f"{seconds:.0f} s"


COSTS = (
    Cost(
        "trained_parameters",
        "trained parameters",
        lambda run: metric_columns.trained(run)[0],
        thousands,
        "those that the optimiser gets (or values fitted in closed form) in the first task and, if they differ, in the last",
    ),
    Cost(
        "storage",
        "storage between tasks",
        metric_columns.storage,
        size,
        "the most bytes kept from one task to the next besides the model",
    ),
    Cost(
        "auxiliary_images",
        "auxiliary images",
        metric_columns.auxiliary_images,
        thousands,
        "those that the method reads besides the tasks' own",
    ),
    Cost(
        "peak_memory",
        "peak memory",
        metric_columns.memory,
        size,
        "the most memory of the whole process at any time of the run, with the loading of images, the decompositions "
        "of weights and the evaluation (on a GPU, of all that is allocated there); not what a training step needs by "
        "itself, which python -m benchmarks.perf measures",
        is_measured=True,
    ),
    Cost(
        "training_seconds",
        "training time",
        metric_columns.training_seconds,
        duration,
        "that of all tasks together, with the loading of images and the decompositions of weights",
        is_measured=True,
    ),
    Cost(
        "evaluation_seconds",
        "evaluation time",
        metric_columns.evaluation_seconds,
        duration,
        "that of all tests together, on every task before any training and after each task",
        is_measured=True,
    ),
)


BY_KEY = {cost.key: cost for cost in COSTS}


def explained(cost: Cost) -> str:
    """Returns a sentence that says what a cost includes: `Auxiliary images: those that ...`.

    Args:
        cost: the cost.
    """
    return f"{cost.heading[:1].upper()}{cost.heading[1:]}: {cost.includes}."


@dataclass(frozen=True)
class Point:
    """A method's accuracy and what it costs.

    Attributes:
        method: the method.
        cost: mean and standard deviation of its cost over all its runs.
        accuracy: those of its Avg in percent over seeds, or over orders if there are several.
    """

    method: Method
    cost: Spread
    accuracy: Spread


def points(group: Group, cost: Cost) -> list[Point]:
    """Returns the accuracy and cost of the methods that ran in every order and have an Avg.

    Args:
        group: the runs.
        cost: the cost.
    """
    avg, orders = metric_columns.metric(group.identity, "avg"), list(group.orders)
    found = []
    for method in group.methods:
        accuracy, costs = over_orders(method, orders, avg.of), spread([cost.of(run) for run in method.runs])
        if accuracy is not None and costs is not None:
            found.append(Point(method, costs, accuracy))
    return found


def pareto(found: Sequence[Point]) -> list[Point]:
    """Returns the ranked points, by their means, than which no other is both cheaper and more accurate; the cheapest first.

    Args:
        found: the points.
    """
    ranked = [point for point in found if point.method.is_ranked]
    cheap, good = np.array([(-point.cost.mean, point.accuracy.mean) for point in ranked]).reshape(-1, 2).T
    return [ranked[index] for index in reversed(front(cheap, good))]
