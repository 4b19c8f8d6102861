"""The result of a data set file's `read`: one `Part` of training images and one of test images."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Part:
    """The training or test images of a torchvision data set.

    Attributes:
        dataset: its item i is (image, label).
        classes: C names, as the data set has them, in label order.
        labels: of all images of `dataset`, in order, each below C.
        paths: the file of each image of `dataset`, in order; empty if `archive` holds them all.
        archive: the file that holds all images, if any.
        rows: (N,) int64, which images of `dataset` belong to this part; None for all.
    """

    dataset: Any
    classes: tuple[str, ...]
    labels: list[int]
    paths: tuple[Path, ...] = ()
    archive: Path | None = None
    rows: np.ndarray | None = None

    @classmethod
    def of_files(cls, dataset: Any, labels: list[int], paths: Iterable[str | Path]) -> "Part":
        """Returns the part with all images of a data set that has one file for each image, and an attribute `classes`.

        Args:
            dataset: its item i is (image, label).
            labels: of all images, in order.
            paths: the file of each image, in order.
        """
        return cls(dataset, tuple(dataset.classes), labels, tuple(map(Path, paths)))
