"""The result of a data set file's `read`: one `Part` of training images and one of test images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


class Listed:
    """A data set of listed image files, for data that torchvision has no class for; item i is (image, label).

    Args:
        classes, labels, paths: as the attributes.

    Attributes:
        classes: C names, in label order.
        labels: the label of each image, 0 to C - 1.
        paths: the file of each image.
    """

    def __init__(self, classes: Sequence[str], labels: list[int], paths: list[Path]) -> None:
        self.classes, self.labels, self.paths = classes, labels, paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.open(self.paths[index]), self.labels[index]


@dataclass(frozen=True)
class Part:
    """The training images, or the test images, of one data set: what they are, not yet decoded.

    Attributes:
        dataset: a torchvision data set or one like it; its item i is (image, label).
        classes: C names, as the data set has them, in label order.
        labels: of all images of `dataset`, in order, each 0 to C - 1.
        paths: the file of each image of `dataset`, in order; empty if `archive` holds them all.
        archive: the file that holds all images, if there is one; else None.
        rows: (N,) int64, the indices of the images of `dataset` that belong to this part; None for all.
    """

    dataset: Any
    classes: tuple[str, ...]
    labels: list[int]
    paths: tuple[Path, ...] = ()
    archive: Path | None = None
    rows: np.ndarray | None = None

    @classmethod
    def of_files(cls, dataset: Any, labels: list[int], paths: Iterable[str | Path]) -> "Part":
        """Returns the part that consists of all images of a data set with one file for each image.

        Args:
            dataset: its item i is (image, label); its attribute `classes` holds the class names in label order.
            labels: of all images, in order; each is an index into `classes`.
            paths: the file of each image, in order.
        """
        return cls(dataset, tuple(dataset.classes), labels, tuple(map(Path, paths)))
