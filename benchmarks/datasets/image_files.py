"""Images in files of the data root, each in its own file or many in one archive."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.images.sets import Images
from benchmarks.runtime.files import fingerprint


@dataclass(frozen=True)
class Files(Images):
    """Images of a published data set, with the paths of their files, so that missing files are found without decoding.

    Attributes:
        paths: the file of each image, in order; empty if one archive holds them all.
    """

    paths: tuple[Path, ...] = ()


def in_files(name: str, dataset: Any, paths: tuple[Path, ...], root: Path) -> Files:
    """Returns the images of a torchvision data set that has one file for each image.

    Args:
        name: of the images, for messages and the cache, for instance `DTD-train`.
        dataset: its item i is (image, label).
        paths: the file of each image, in the order of `dataset`.
        root: a folder that contains all files. The images' `fingerprint`, by which the cache notices changed files,
            has the paths below it, so the data can be moved together with this folder.
    """
    return Files(
        name=name,
        count=len(dataset),
        read=partial(_read, dataset),
        where=lambda row: str(paths[row]),
        fingerprint=lambda: fingerprint(root, paths),
        paths=paths,
    )


def in_archive(name: str, dataset: Any, archive: Path, root: Path) -> Files:
    """Returns the images of a torchvision data set that are all in one file.

    Args:
        name: of the images, for messages and the cache, for instance `MNIST-train`.
        dataset: its item i is (image, label).
        archive: the file that holds all images.
        root: a folder that contains it. The images' `fingerprint`, by which the cache notices a changed file, has the
            path below it, so the data can be moved together with this folder.
    """
    return Files(
        name=name,
        count=len(dataset),
        read=partial(_read, dataset),
        where=lambda row: f"{archive}, image {row}",
        fingerprint=lambda: fingerprint(root, (archive,)),
    )


def _read(dataset: Any, row: int) -> Image.Image:
    image: Image.Image = dataset[row][0]
    return image


def forbidden(folder: Path) -> str | None:
    """Returns the first folder, this one or one below it, that this process may not list; None if it may list all.

    Args:
        folder: the folder, for instance that of a data set; for one that does not exist, the result is None.
    """
    errors: list[OSError] = []
    for _ in os.walk(folder, onerror=errors.append):
        pass
    return next((error.filename for error in errors if isinstance(error, PermissionError)), None)
