"""Eleven published data sets with ZSCL's splits, class names and templates; orders I (alphabetical, default) and II.

The data sets are in the folder `--data-root`; `python -m benchmarks.prepare` says which are missing and where to get
them. The protocol is task-aware: at test time each image is classified among its own data set's classes.
"""

from functools import partial
from pathlib import Path

from benchmarks.config.settings import Splits
from benchmarks.streams.base import DATA_ROOT, Plan, Task, refuse_argument
from benchmarks.streams.from_datasets import open_datasets, whole_task


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
PROTOCOLS: dict[Splits, str] = {
    "zscl": "MTIL with ZSCL's splits, class names and templates (arXiv 2303.06628)",
    "coop": "MTIL's data sets with CoOp's splits and class names (arXiv 2109.01134), RAIL's one template (2406.18868)",
}


def _open(data_root: Path, splits: Splits, chosen: tuple[str, ...]) -> tuple[Task, ...]:
    opened = open_datasets(chosen, data_root, "mtil", splits)
    return tuple(whole_task(opened[name]) for name in chosen)


def build(argument: str, data_root: Path = Path(DATA_ROOT), splits: Splits = "zscl") -> Plan:
    """Returns MTIL (Multi-domain Task Incremental Learning), eleven data sets with one task each; nothing is read yet.

    Its orders are the published `I` (alphabetical, the default) and `II`.

    Args:
        argument: the text after the colon of the stream's name; must be empty.
        data_root: the folder of the published data sets.
        splits: whose splits, class names and templates the data sets have: `zscl` or `coop`.

    Raises:
        UserError: the argument is not empty. The plan's `open` raises it if data sets are missing or not as published.
    """
    refuse_argument("mtil", argument)
    return Plan(
        names=ORDERS["I"],
        orders=ORDERS,
        protocol=PROTOCOLS[splits],
        open=partial(_open, data_root, splits),
        datasets=ORDERS["I"],
    )
