"""Eleven published data sets with ZSCL's splits, class names and templates; orders I (alphabetical, default) and II.

The data sets lie below `--data-root`; `python -m benchmarks.prepare` says what is missing there and where it comes from. The
task is known at test time: each image is told apart among its own data set's classes.
"""

from functools import partial
from pathlib import Path

from benchmarks.streams.base import DATA_ROOT, Plan, Task, refuse_argument
from benchmarks.streams.published import open_datasets, whole_task


ORDERS: dict[str, tuple[str, ...]] = {
    "I": (
        "Aircraft", "Caltech101", "CIFAR100", "DTD", "EuroSAT", "Flowers",
        "Food", "MNIST", "OxfordPet", "StanfordCars", "SUN397",
    ),
    "II": (
        "StanfordCars", "Food", "MNIST", "OxfordPet", "Flowers", "SUN397",
        "Aircraft", "Caltech101", "DTD", "EuroSAT", "CIFAR100",
    ),
}  # fmt: skip
PROTOCOL = "MTIL with ZSCL's splits, class names and templates (arXiv 2303.06628)"


def _open(data_root: Path, chosen: tuple[str, ...]) -> tuple[Task, ...]:
    opened = open_datasets(chosen, data_root, "mtil")
    return tuple(whole_task(opened[name]) for name in chosen)


def build(argument: str, data_root: Path = Path(DATA_ROOT)) -> Plan:
    """The plan, in order I.

    Raises:
        UserError: anything after `mtil:`; on opening, data sets that are missing or not as published.
    """
    refuse_argument("mtil", argument)
    return Plan(
        names=ORDERS["I"],
        orders=ORDERS,
        protocol=PROTOCOL,
        open=partial(_open, data_root),
        datasets=ORDERS["I"],
    )
