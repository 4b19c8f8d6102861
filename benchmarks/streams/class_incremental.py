"""What the class-incremental streams share: one data set, learned class by class in a fixed order.

The protocol of ZSCL's class-incremental code (arXiv 2303.06628), which builds on Continual-CLIP and continuum: a fixed order of
the classes, one template, and at test time the classes learned so far compete. Class names are the data set's own, and keep
their underscores ("a bad photo of a aquarium_fish."), which MTIL's don't. The class orders are those of that code.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.config.errors import UserError
from benchmarks.streams.base import Plan, Task
from benchmarks.streams.published import open_datasets, whole_task


TEMPLATES = ("a bad photo of a {}.",)
PROTOCOL = (
    "class-incremental as in ZSCL's code (arXiv 2303.06628), but tested on centre crops where that code crops at random"
)


def steps(stream: str, argument: str, allowed: tuple[int, ...]) -> int:
    """The number after the colon. Raises UserError, saying which there are."""
    if argument not in map(str, allowed):
        known = ", ".join(f"{stream}:{number}" for number in allowed)
        raise UserError(f'--stream {stream}: expected a number of steps, one of {known}, got "{argument}"')
    return int(argument)


def numbered(classes: tuple[int, ...], count: int) -> dict[str, np.ndarray]:
    """`step-01`, `step-02`, ...: the classes (C,) of each of `count` steps, equally many or one more."""
    parts = np.array_split(np.array(classes, dtype=np.int64), count)
    return {f"step-{number:02}": part for number, part in enumerate(parts, start=1)}


def incremental(dataset: str, stream: str, classes: dict[str, np.ndarray], data_root: Path) -> Plan:
    """The plan of one data set learned class by class.

    Args:
        dataset: its name in `benchmarks.datasets`.
        stream: as on the command line, for messages and the protocol's name.
        classes: by task name, in order, its classes (C,) as indices into the data set's own list.
    """
    return Plan(
        names=tuple(classes),
        orders={"default": tuple(classes)},
        protocol=f"{stream}: {PROTOCOL}",
        open=partial(_open, dataset, stream, classes, data_root),
        identity="seen",
        datasets=(dataset,),
    )


def _open(
    dataset: str, stream: str, classes: dict[str, np.ndarray], data_root: Path, chosen: tuple[str, ...]
) -> tuple[Task, ...]:
    opened = open_datasets((dataset,), data_root, stream)[dataset]
    task = replace(whole_task(opened), class_names=opened.own_names, templates=TEMPLATES)
    return tuple(task.part(name, classes[name]) for name in chosen)
