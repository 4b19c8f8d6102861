"""Images as their owner keeps them, and the part of them that one task trains or tests on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from benchmarks.config.errors import UserError


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


def split_of(name: str, images: Sequence[Image.Image | np.ndarray], labels: Sequence[int]) -> Split:
    """A split of images in memory, for a stream of one's own.

    Args:
        name: for messages.
        images: N Pillow images, or arrays (H, W, 3) uint8, of any size.
        labels: N, each the class of an image as an index into the task's class names.

    Raises:
        UserError: not as many labels as images, or an array of another kind.
    """
    if len(images) != len(labels):
        raise UserError(f"{name}: {len(images)} images and {len(labels)} labels; there must be as many")
    for place, image in enumerate(images):
        if isinstance(image, np.ndarray) and not (image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3):
            raise UserError(f"{name}, image {place}: expected (H, W, 3) uint8, got {image.shape} {image.dtype}")

    def read(row: int) -> Image.Image:
        image = images[row]
        return Image.fromarray(image) if isinstance(image, np.ndarray) else image.copy()

    source = Images(name, len(images), read, lambda row: f"{name}, image {row}", drawn=True)
    return Split(source, np.arange(len(images)), np.asarray(labels, dtype=np.int64))
