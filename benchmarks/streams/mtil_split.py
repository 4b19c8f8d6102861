"""MTIL's data sets, each cut by class into N tasks, written mtil-split:N; orders I (default), II and rounds.

It is a longer stream of the same images: `Aircraft-1` to `Aircraft-N`, and so on. The order `rounds` learns the first
parts of all data sets in order I, then the second parts, and so on.
"""

from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.config.errors import UserError
from benchmarks.config.settings import Splits
from benchmarks.streams.base import DATA_ROOT, Plan, Task
from benchmarks.streams.from_datasets import open_datasets, whole_task
from benchmarks.streams.mtil import ORDERS, PROTOCOLS


MOST = 10  # number of classes of MNIST and of EuroSAT


def _open(data_root: Path, splits: Splits, parts: int, chosen: tuple[str, ...]) -> tuple[Task, ...]:
    datasets = tuple(dict.fromkeys(name.rpartition("-")[0] for name in chosen))
    opened = open_datasets(datasets, data_root, f"mtil-split:{parts}", splits)
    tasks = {name: whole_task(found) for name, found in opened.items()}
    return tuple(_part(tasks[name.rpartition("-")[0]], name, parts) for name in chosen)


def _part(task: Task, name: str, parts: int) -> Task:
    """Returns one part of a data set: consecutive classes; the parts' sizes differ by at most one."""
    number = int(name.rpartition("-")[2])
    return task.part(name, np.array_split(np.arange(len(task.class_names)), parts)[number - 1])


def build(argument: str, data_root: Path = Path(DATA_ROOT), splits: Splits = "zscl") -> Plan:
    """Returns MTIL with the classes of each data set cut into N tasks, `Aircraft-1` to `Aircraft-N` and so on.

    Its orders are MTIL's `I` (the default) and `II`, with a data set's tasks one after the other, and `rounds`: the first
    tasks of all data sets, then the second ones, and so on. Nothing is read from disk yet.

    Args:
        argument: the text after the colon of the stream's name: the number of tasks for each data set, from "2" to
            "10".
        data_root: the folder of the published data sets.
        splits: whose splits, class names and templates the data sets have: `zscl` or `coop`.

    Raises:
        UserError: the argument is no such number. The plan's `open` raises it if data sets are missing or not as
            published.
    """
    if argument not in map(str, range(2, MOST + 1)):
        raise UserError(
            f"--stream mtil-split: expected mtil-split:N with N from 2 to {MOST} (MNIST and EuroSAT have {MOST} classes), "
            f'got "{argument}"'
        )
    parts = int(argument)
    numbers = range(1, parts + 1)
    orders = {
        order: tuple(f"{name}-{number}" for name in datasets for number in numbers)
        for order, datasets in ORDERS.items()
    }
    orders["rounds"] = tuple(f"{name}-{number}" for number in numbers for name in ORDERS["I"])
    return Plan(
        names=orders["I"],
        orders=orders,
        protocol=f"{PROTOCOLS[splits]}, each data set cut into {parts} tasks by class: this project's own",
        open=partial(_open, data_root, splits, parts),
        datasets=ORDERS["I"],
    )
