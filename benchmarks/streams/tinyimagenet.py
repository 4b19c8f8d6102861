"""TinyImageNet, class-incremental: 100 classes, then 100 more in 5, 10 or 20 steps, written tinyimagenet:5 and so on.

The protocol is that of `cifar100`, with 100 classes in the first task, `base`.
"""

from pathlib import Path

import numpy as np

from benchmarks.streams.base import DATA_ROOT, Plan
from benchmarks.streams.cifar100 import class_order, incremental, numbered, steps


BASE = 100
STEPS = (5, 10, 20)


def build(argument: str, data_root: Path = Path(DATA_ROOT)) -> Plan:
    """The plan; its only order is the fixed one.

    Raises:
        UserError: another number of steps, or none; on opening, a data set that is missing or not as published.
    """
    count = steps("tinyimagenet", argument, STEPS)
    order = class_order("tinyimagenet")
    classes = {"base": order[:BASE], **numbered(np.array_split(order[BASE:], count))}
    return incremental("TinyImageNet", f"tinyimagenet:{count}", classes, data_root)
