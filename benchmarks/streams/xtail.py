"""X-TAIL: MTIL without CIFAR100, one template, all class names compete; orders I (alphabetical, default) and II.

The protocol is that of RAIL (arXiv 2406.18868) with `--splits coop`. By default the splits and class names are ZSCL's,
with which published X-TAIL results are not comparable. Its 16 training images of each class are the setting `--shots`
and the recipe's default.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.config.settings import Splits
from benchmarks.datasets.coop import TEMPLATE
from benchmarks.streams.base import DATA_ROOT, Plan, Task, refuse_argument
from benchmarks.streams.from_datasets import open_datasets, whole_task
from benchmarks.streams.mtil import ORDERS as MTIL_ORDERS


ORDERS = {
    "I": tuple(name for name in MTIL_ORDERS["I"] if name != "CIFAR100"),
    "II": (
        "StanfordCars", "Aircraft", "OxfordPet", "Food", "SUN397", "MNIST", "Flowers", "DTD", "Caltech101", "EuroSAT",
    ),
}  # fmt: skip
PROTOCOLS: dict[Splits, str] = {
    "zscl": (
        "X-TAIL (RAIL, arXiv 2406.18868) with ZSCL's splits and class names, 1101 classes; published X-TAIL figures are on "
        "CoOp's splits, with 100 Caltech101 classes and 1100 in all, and do not compare"
    ),
    "coop": "X-TAIL (RAIL, arXiv 2406.18868), CoOp's splits and class names (arXiv 2109.01134), 1100 classes",
}


def _open(data_root: Path, splits: Splits, chosen: tuple[str, ...]) -> tuple[Task, ...]:
    opened = open_datasets(chosen, data_root, "xtail", splits)
    tasks = tuple(whole_task(opened[name]) for name in chosen)
    return tasks if splits == "coop" else tuple(replace(task, templates=(TEMPLATE,)) for task in tasks)


def build(argument: str, data_root: Path = Path(DATA_ROOT), splits: Splits = "zscl") -> Plan:
    """Returns X-TAIL: MTIL's data sets without CIFAR100, one task each, where all class names compete at test time.

    Its orders are `I` (alphabetical, the default) and `II`. Nothing is read from disk yet.

    Args:
        argument: the text after the colon of the stream's name; must be empty.
        data_root: the folder of the published data sets.
        splits: whose splits, class names and templates the data sets have: `zscl` or `coop`.

    Raises:
        UserError: the argument is not empty. The plan's `open` raises it if data sets are missing or not as published.
    """
    refuse_argument("xtail", argument)
    return Plan(
        names=ORDERS["I"],
        orders=ORDERS,
        protocol=PROTOCOLS[splits],
        open=partial(_open, data_root, splits),
        identity="unknown",
        datasets=ORDERS["I"],
    )
