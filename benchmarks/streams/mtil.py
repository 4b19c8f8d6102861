"""Eleven published data sets with ZSCL's splits, class names and templates; orders I (alphabetical, default) and II.

The data sets lie below `--data-root`; `python -m benchmarks.prepare` says what is missing there and where it comes from. The
task is known at test time: each image is told apart among its own data set's classes.
"""

from pathlib import Path

from benchmarks.config.errors import UserError
from benchmarks.datasets import NAMES, Opened, open_checked
from benchmarks.streams import DATA_ROOT, Plan, refuse_argument


ORDERS = {
    "I": tuple(NAMES),
    "II": (
        "StanfordCars", "Food", "MNIST", "OxfordPet", "Flowers", "SUN397",
        "Aircraft", "Caltech101", "DTD", "EuroSAT", "CIFAR100",
    ),
}  # fmt: skip
PROTOCOL = "MTIL with ZSCL's splits, class names and templates (arXiv 2303.06628)"


def open_datasets(names: tuple[str, ...], data_root: Path, stream: str) -> dict[str, Opened]:
    """Each data set by name.

    Args:
        stream: as on the command line, for the message.

    Raises:
        UserError: what is wrong with the first data set that can't be opened, and which others can't either: all are tried,
            so that nobody finds them out one by one.
    """
    opened, errors = {}, {}
    for name in names:
        try:
            opened[name] = open_checked(name, data_root)
        except UserError as error:
            errors[name] = error
    if errors:
        first = next(iter(errors.values()))
        # Where the data root itself is missing, all errors are that one.
        others = [name for name, error in errors.items() if str(error) != str(first)]
        if not others:
            raise first
        count = f"{len(others)} other{'s' if len(others) > 1 else ''}"
        command = f"python -m benchmarks.prepare --stream {stream} --data-root {data_root}"
        raise UserError(f"{first}; and {count}: {', '.join(others)}; {command} shows all")
    return opened


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
        open=lambda chosen: tuple(opened.task() for opened in open_datasets(chosen, data_root, "mtil").values()),
        datasets=ORDERS["I"],
    )
