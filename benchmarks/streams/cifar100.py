"""CIFAR100, class-incremental: its classes in 10, 20 or 50 steps, written cifar100:10 and so on.

The protocol is ZSCL's: see `class_incremental.py`.
"""

from pathlib import Path

from benchmarks.streams.base import DATA_ROOT, Plan
from benchmarks.streams.class_incremental import incremental, numbered, steps


STEPS = (10, 20, 50)
# The order in which the classes are learned, as indices into the data set's own list.
CLASS_ORDER = (
    87, 0, 52, 58, 44, 91, 68, 97, 51, 15, 94, 92, 10, 72, 49, 78, 61, 14, 8, 86, 84, 96, 18, 24, 32, 45, 88, 11, 4, 67,
    69, 66, 77, 47, 79, 93, 29, 50, 57, 83, 17, 81, 41, 12, 37, 59, 25, 20, 80, 73, 1, 28, 6, 46, 62, 82, 53, 9, 31, 75,
    38, 63, 33, 74, 27, 22, 36, 3, 16, 21, 60, 19, 70, 90, 89, 43, 5, 42, 65, 76, 40, 30, 23, 85, 2, 95, 56, 48, 71, 64,
    98, 13, 99, 7, 34, 55, 54, 26, 35, 39,
)  # fmt: skip


def build(argument: str, data_root: Path = Path(DATA_ROOT)) -> Plan:
    """Returns CIFAR100 as a class-incremental stream, with its classes in the published order; nothing is read yet.

    Args:
        argument: the text after the colon of the stream's name: the number of steps, that is, of tasks: "10", "20" or
            "50".
        data_root: the folder of the published data sets.

    Raises:
        UserError: another number of steps. The plan's `open` raises it if the data set is missing or not as published.
    """
    count = steps("cifar100", argument, STEPS)
    return incremental("CIFAR100", f"cifar100:{count}", numbered(CLASS_ORDER, count), data_root)
