"""CIFAR100, class-incremental: its classes in 10, 20 or 50 steps, written cifar100:10 and so on.

The protocol of ZSCL's class-incremental code (arXiv 2303.06628), which builds on Continual-CLIP and continuum: a fixed order of
the classes, one template, and at test time the classes learned so far compete. Class names are the data set's own, and keep
their underscores ("a bad photo of a aquarium_fish."), which MTIL's don't. The class orders of this stream and of
TinyImageNet, in `benchmarks/datasets/class_orders.json`, are those of that code; they index the data set's own class list.
"""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.config.errors import UserError
from benchmarks.streams.base import DATA_ROOT, Plan, Task
from benchmarks.streams.published import open_datasets, whole_task


CLASS_ORDERS = Path(__file__).parent.parent / "datasets" / "class_orders.json"
TEMPLATES = ("a bad photo of a {}.",)
PROTOCOL = (
    "class-incremental as in ZSCL's code (arXiv 2303.06628), but tested on centre crops where that code crops at random"
)
STEPS = (10, 20, 50)


def class_order(dataset: str) -> np.ndarray:
    """(C,) int64: the fixed order of a data set's classes, `cifar100` or `tinyimagenet`."""
    return np.array(json.loads(CLASS_ORDERS.read_text(encoding="utf-8"))[dataset], dtype=np.int64)


def steps(stream: str, argument: str, allowed: tuple[int, ...]) -> int:
    """The number after the colon. Raises UserError, saying which there are."""
    if argument not in map(str, allowed):
        known = ", ".join(f"{stream}:{number}" for number in allowed)
        raise UserError(f'--stream {stream}: expected a number of steps, one of {known}, got "{argument}"')
    return int(argument)


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


def numbered(parts: list[np.ndarray]) -> dict[str, np.ndarray]:
    """`step-01`, `step-02`, ... for the classes of each step."""
    return {f"step-{number:02}": part for number, part in enumerate(parts, start=1)}


def build(argument: str, data_root: Path = Path(DATA_ROOT)) -> Plan:
    """The plan; its only order is the fixed one.

    Raises:
        UserError: another number of steps, or none; on opening, a data set that is missing or not as published.
    """
    count = steps("cifar100", argument, STEPS)
    classes = numbered(np.array_split(class_order("cifar100"), count))
    return incremental("CIFAR100", f"cifar100:{count}", classes, data_root)
