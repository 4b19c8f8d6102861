"""Images as their owner keeps them, and the part of them that one task trains or tests on."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Images:
    """Images as their owner keeps them: a whole data set, or one published half of it. Tasks are cut out of these.

    Attributes:
        name: for messages and the cache, for instance `Caltech101` or `Food-train`.
        count: how many there are.
        read: image i, in its own size and mode; the backbone's transform comes later.
        where: what to call image i in a message, its file if it has one of its own.
        fingerprint: a text that changes when the data change, made when it is asked for; None for pictures that are
            never kept on disk.
        drawn: whether they are made when they are read, and so few that memory holds them where there is no cache.
    """

    name: str
    count: int
    read: Callable[[int], Image.Image]
    where: Callable[[int], str]
    fingerprint: Callable[[], str] | None = None
    drawn: bool = False


@dataclass(frozen=True)
class Split:
    """The images of one task, for training or for testing.

    Attributes:
        images: where they come from.
        rows: (N,) int64, which of them, in order.
        labels: (N,) int64, the class of each as an index into the task's class names.
    """

    images: Images
    rows: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: np.ndarray) -> "Split":
        """The images at these places of this split."""
        return replace(self, rows=self.rows[places], labels=self.labels[places])

    def of_classes(self, classes: np.ndarray) -> "Split":
        """Only the images of these classes (C,), relabelled by their place among them."""
        kept = self.take(np.flatnonzero(np.isin(self.labels, classes)))
        place = {label: new for new, label in enumerate(classes.tolist())}
        return replace(kept, labels=np.array([place[label] for label in kept.labels.tolist()], dtype=np.int64))
