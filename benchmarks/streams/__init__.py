"""Streams: what a task is. One file here for each family of streams, its name the name on the command line.

A family's module starts with a one-line docstring (shown by `--list`), imports neither torch nor Avalanche, and has
`build(argument: str) -> Stream`, where `argument` is what follows the colon in `--stream folder:PATH` (empty without one).
Its default settings stand in `benchmarks/recipes/<family>.yaml`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Split:
    """The images of one task, for training or for testing.

    Attributes:
        labels: (N,) int64, the class of each image as an index into the task's class names.
        read: image i as RGB, in its own size; the backbone's transform comes later.
    """

    labels: np.ndarray
    read: Callable[[int], Image.Image]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Task:
    """One data set with its prompts.

    Attributes:
        name: as it appears in tables and csv headers.
        class_names: C names, in label order.
        templates: prompts with one `{}`; training uses the first, evaluation the normalised mean of all.
    """

    name: str
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    train: Split
    test: Split


@dataclass(frozen=True)
class Stream:
    """Tasks in the order in which they are learned, and the orders that this stream knows by name.

    Attributes:
        orders: task names for each named order, for instance `{"I": (...), "II": (...)}`; the first is the default.
    """

    tasks: tuple[Task, ...]
    orders: dict[str, tuple[str, ...]]
