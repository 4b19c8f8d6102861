"""TinyImageNet, class-incremental: 100 classes, then 100 more in 5, 10 or 20 steps, written tinyimagenet:5 and so on.

The protocol is ZSCL's: see `class_incremental.py`. The first task, of 100 classes, is called `base`.
"""

from pathlib import Path

import numpy as np

from benchmarks.streams.base import DATA_ROOT, Plan
from benchmarks.streams.class_incremental import incremental, numbered, steps


BASE = 100
STEPS = (5, 10, 20)
# The order in which the classes are learned, as indices into the data set's own list (not a sorted one, as mirrors have it).
CLASS_ORDER = (
    131, 181, 22, 172, 144, 92, 97, 187, 58, 93, 6, 70, 106, 68, 153, 168, 179, 199, 29, 46, 9, 142, 134, 88, 193, 110,
    26, 32, 117, 112, 17, 39, 166, 13, 94, 138, 109, 147, 51, 101, 59, 188, 116, 5, 170, 99, 100, 167, 180, 146, 65, 1,
    104, 43, 38, 184, 123, 171, 137, 162, 71, 44, 95, 174, 12, 7, 54, 152, 21, 47, 28, 176, 34, 2, 132, 118, 42, 189,
    150, 14, 165, 41, 192, 45, 82, 128, 63, 57, 197, 160, 53, 75, 108, 135, 121, 159, 183, 67, 169, 50, 87, 69, 89, 196,
    115, 19, 148, 96, 86, 11, 8, 60, 33, 173, 78, 4, 119, 105, 182, 127, 177, 30, 186, 40, 49, 178, 76, 157, 161, 73,
    164, 151, 31, 74, 191, 27, 125, 198, 81, 20, 155, 114, 139, 36, 61, 56, 145, 48, 16, 83, 62, 85, 126, 0, 102, 23, 3,
    140, 15, 195, 133, 113, 190, 141, 52, 163, 156, 80, 111, 90, 175, 143, 120, 84, 18, 25, 79, 37, 154, 136, 64, 158,
    24, 185, 72, 35, 129, 55, 149, 91, 122, 77, 103, 124, 130, 66, 10, 107, 194, 98,
)  # fmt: skip


def build(argument: str, data_root: Path = Path(DATA_ROOT)) -> Plan:
    """Returns TinyImageNet as a class-incremental stream, with its classes in the published order; nothing is read yet.

    The first task, `base`, has 100 classes; the other 100 follow in steps of equal size.

    Args:
        argument: the text after the colon of the stream's name: the number of steps (tasks) after the first task: "5",
            "10" or "20".
        data_root: the folder of the published data sets.

    Raises:
        UserError: another number of steps. The plan's `open` raises it if the data set is missing or not as published.
    """
    count = steps("tinyimagenet", argument, STEPS)
    classes = {"base": np.array(CLASS_ORDER[:BASE]), **numbered(CLASS_ORDER[BASE:], count)}
    return incremental("TinyImageNet", f"tinyimagenet:{count}", classes, data_root)
