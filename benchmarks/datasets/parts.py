"""What a data set's file gives of the training images and of the test images: a `Part` each."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Part:
    """Images of one torchvision data set, in this project's terms.

    Attributes:
        dataset: item i is (image, label).
        classes: C names, as the data set has them, in label order.
        labels: of all images of `dataset`, in order, each below C.
        paths: each image's own file, in order; empty where `archive` holds them all.
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
        """All images of a data set that has a file for each of them, and `classes`."""
        return cls(dataset, tuple(dataset.classes), labels, tuple(map(Path, paths)))
