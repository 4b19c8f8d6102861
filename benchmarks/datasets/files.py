"""Images that lie in files below the data root, each in its own or many in an archive."""

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
    """`Images` that can be checked without decoding them.

    Attributes:
        paths: the file of image i at place i; empty where an archive holds them all.
    """

    paths: tuple[Path, ...] = ()


def in_files(name: str, dataset: Any, paths: tuple[Path, ...], root: Path) -> Files:
    """The images of `dataset`, whose item i is (image, label), image i in file `paths[i]` below `root`."""
    return Files(
        name=name,
        count=len(dataset),
        read=partial(_read, dataset),
        where=lambda row: str(paths[row]),
        fingerprint=lambda: fingerprint(root, paths),
        paths=paths,
    )


def in_archive(name: str, dataset: Any, archive: Path, root: Path) -> Files:
    """The images of `dataset`, whose item i is (image, label), all in one file."""
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
    """The first folder, this one or one below it, that may not be listed."""
    errors: list[OSError] = []
    for _ in os.walk(folder, onerror=errors.append):
        pass
    return next((error.filename for error in errors if isinstance(error, PermissionError)), None)
