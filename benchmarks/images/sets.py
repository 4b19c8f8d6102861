"""A data set's images as their owner stores them, and the part of them that one task trains or tests on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from benchmarks.config.errors import UserError


@dataclass(frozen=True)
class Images:
    """Images as their owner stores them: a whole data set, or its published training or test half.

    Tasks use parts of these (see `Split`).

    Attributes:
        name: for messages and the cache, for instance `Caltech101` or `Food-train`.
        count: number of images.
        read: returns image i (from 0) in its original size and mode.
        where: returns the name of image i for messages: its file, if it has its own.
        fingerprint: returns a text that changes when the data change, by which the cache on disk is found; None for
            images that are never cached on disk.
        drawn: whether all images are decoded into memory when they are not cached on disk, as generated ones are; False
            decodes them at each reading then.
    """

    name: str
    count: int
    read: Callable[[int], Image.Image]
    where: Callable[[int], str]
    fingerprint: Callable[[], str] | None = None
    drawn: bool = False


@dataclass(frozen=True)
class Split:
    """The images of one task, for training or for testing: which ones of a data set, and their labels, not decoded.

    Attributes:
        images: the images that this split is a part of.
        rows: (N,) int64, the index of each image in `images`.
        labels: (N,) int64, the class of each image as an index into the task's class names.
    """

    images: Images
    rows: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: np.ndarray) -> "Split":
        """Returns a split with some of the images of this one, and their labels.

        Args:
            places: (M,) int64, the indices of these images in this split; their order is kept.
        """
        return replace(self, rows=self.rows[places], labels=self.labels[places])

    def of_classes(self, classes: np.ndarray) -> "Split":
        """Returns a split with the images of some classes, in this split's order, labelled 0 to C - 1.

        Args:
            classes: (C,) int64, the labels of the classes to keep; class `classes[i]` gets the label i.
        """
        kept = self.take(np.flatnonzero(np.isin(self.labels, classes)))
        place = {label: new for new, label in enumerate(classes.tolist())}
        return replace(kept, labels=np.array([place[label] for label in kept.labels.tolist()], dtype=np.int64))


def split_of(name: str, images: Sequence[Image.Image | np.ndarray], labels: Sequence[int]) -> Split:
    """Returns images that are in memory as a split, for the training or test images of a task in a user's own stream.

    Args:
        name: the name of the images, for messages.
        images: N Pillow images, or arrays (H, W, 3) uint8 in RGB, of any size.
        labels: N integers: the class of each image as an index into the task's class names.

    Raises:
        UserError: the numbers of labels and images differ, a label is no integer, or an image is neither a Pillow image
            nor such an array.
    """
    if not (hasattr(images, "__len__") and hasattr(images, "__getitem__")):
        raise UserError(f"{name}: images: expected a list of images, got {type(images).__name__}")
    try:
        numbers = np.asarray(labels)
    except ValueError as error:
        raise UserError(f"{name}: labels: expected (N,) integers ({error})") from error
    if numbers.ndim != 1 or (len(numbers) and numbers.dtype.kind not in "iu"):
        raise UserError(f"{name}: labels: expected (N,) integers, got {numbers.shape} {numbers.dtype}")
    if len(images) != len(numbers):
        raise UserError(f"{name}: {len(images)} images and {len(numbers)} labels; there must be as many")
    for place, image in enumerate(images):
        if isinstance(image, np.ndarray):
            if not (image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size):
                raise UserError(f"{name}, image {place}: expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
        elif not isinstance(image, Image.Image):
            raise UserError(f"{name}, image {place}: expected a Pillow image or an array, got {type(image).__name__}")

    def read(row: int) -> Image.Image:
        image = images[row]
        return Image.fromarray(image) if isinstance(image, np.ndarray) else image.copy()

    source = Images(name, len(images), read, lambda row: f"{name}, image {row}", drawn=True)
    return Split(source, np.arange(len(images)), numbers.astype(np.int64))
