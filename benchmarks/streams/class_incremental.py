"""Common parts of the class-incremental streams: one data set, learned class by class in a fixed order.

The protocol is that of ZSCL's class-incremental code (arXiv 2303.06628), which builds on Continual-CLIP and continuum:
a fixed order of the classes and one template; at test time the classes learned so far compete. Class names are the data
set's own with their underscores ("a bad photo of a aquarium_fish."), whereas MTIL's have spaces. The class orders are
those of that code.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.config.errors import UserError
from benchmarks.streams.base import Plan, Task
from benchmarks.streams.from_datasets import open_datasets, whole_task


TEMPLATES = ("a bad photo of a {}.",)
PROTOCOL = (
    "class-incremental as in ZSCL's code (arXiv 2303.06628), but tested on centre crops where that code crops at random"
)


def steps(stream: str, argument: str, allowed: tuple[int, ...]) -> int:
    """Returns the number that follows the colon of a stream's name, as in `cifar100:10`, checked.

    It is the number of tasks that the classes are divided into, for `tinyimagenet` without the first task.

    Args:
        stream: the stream's name before the colon, for the message.
        argument: the text after the colon.
        allowed: the possible numbers.

    Raises:
        UserError: the text is none of the allowed numbers; the message lists them.
    """
    if argument not in map(str, allowed):
        known = ", ".join(f"{stream}:{number}" for number in allowed)
        raise UserError(f'--stream {stream}: expected a number of steps, one of {known}, got "{argument}"')
    return int(argument)


def numbered(classes: tuple[int, ...], count: int) -> dict[str, np.ndarray]:
    """Divides classes into tasks `step-01`, `step-02`, ..., and returns the classes (C,) int64 of each by the task's name.

    The classes keep their order; the tasks' numbers of classes differ by at most one.

    Args:
        classes: all classes, as indices into the data set's class list, in learning order.
        count: the number of tasks.
    """
    parts = np.array_split(np.array(classes, dtype=np.int64), count)
    return {f"step-{number:02}": part for number, part in enumerate(parts, start=1)}


def incremental(dataset: str, stream: str, classes: dict[str, np.ndarray], data_root: Path) -> Plan:
    """Returns one data set as a class-incremental stream with one order; nothing is read from disk yet.

    The classes learned so far compete at test time. The class names are the data set's own, and the only prompt is `a bad
    photo of a {}.`

    Args:
        dataset: the data set's name in `benchmarks.datasets`.
        stream: the stream's name, such as `cifar100:10`, for messages and the protocol's name.
        classes: for each task name, in order, its classes (C,) as indices into the data set's class list.
        data_root: the folder of the published data sets.
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
