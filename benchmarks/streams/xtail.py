"""X-TAIL: MTIL without CIFAR100, one template, all class names compete; orders I (alphabetical, default) and II.

The protocol is that of RAIL (arXiv 2406.18868), but with the splits and class names of ZSCL instead of CoOp's, so
published X-TAIL results are not comparable. Its 16 training images of each class are the setting `--shots` and the
recipe's default.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.streams.base import DATA_ROOT, Plan, Task, refuse_argument
from benchmarks.streams.from_datasets import open_datasets, whole_task
from benchmarks.streams.mtil import ORDERS as MTIL_ORDERS


TEMPLATES = ("a photo of a {}.",)
ORDERS = {
    "I": tuple(name for name in MTIL_ORDERS["I"] if name != "CIFAR100"),
    "II": (
        "StanfordCars", "Aircraft", "OxfordPet", "Food", "SUN397", "MNIST", "Flowers", "DTD", "Caltech101", "EuroSAT",
    ),
}  # fmt: skip
PROTOCOL = (
    "X-TAIL (RAIL, arXiv 2406.18868) with ZSCL's splits and class names, 1101 classes; published X-TAIL figures are on CoOp's "
    "splits, with 100 Caltech101 classes and 1100 in all, and do not compare"
)


def _open(data_root: Path, chosen: tuple[str, ...]) -> tuple[Task, ...]:
    opened = open_datasets(chosen, data_root, "xtail")
    return tuple(replace(whole_task(opened[name]), templates=TEMPLATES) for name in chosen)


def build(argument: str, data_root: Path = Path(DATA_ROOT)) -> Plan:
    """Returns X-TAIL: MTIL's data sets without CIFAR100, one task each, where all class names compete at test time.

    Its orders are `I` (alphabetical, the default) and `II`. Nothing is read from disk yet.

    Args:
        argument: the text after the colon of the stream's name; must be empty.
        data_root: the folder of the published data sets.

    Raises:
        UserError: the argument is not empty. The plan's `open` raises it if data sets are missing or not as published.
    """
    refuse_argument("xtail", argument)
    return Plan(
        names=ORDERS["I"],
        orders=ORDERS,
        protocol=PROTOCOL,
        open=partial(_open, data_root),
        identity="unknown",
        datasets=ORDERS["I"],
    )
