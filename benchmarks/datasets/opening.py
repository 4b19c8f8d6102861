"""Opening a data set: from what its reader gives to splits with labels and class names."""

import os
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.config.errors import UserError
from benchmarks.datasets.about import Info, info
from benchmarks.datasets.files import Files, in_archive, in_files
from benchmarks.datasets.readers import READERS, Part, forbidden
from benchmarks.images.sets import Split


SEED = 42  # of the random splits
SHARE = 0.8  # of the images, for training


@dataclass(frozen=True)
class Opened:
    """A data set as it was found on disk.

    Attributes:
        class_names: C names for prompts, in label order.
        own_names: as the data set has them, for instance with underscores.
        train, test: labels are below C.
    """

    info: Info
    class_names: tuple[str, ...]
    own_names: tuple[str, ...]
    train: Split
    test: Split


def open_dataset(name: str, root: Path) -> Opened:
    """Reads the lists of a data set, not its images.

    Raises:
        UserError: no data root, or the data set is missing, incomplete or damaged: which folder, and how to get it.
    """
    about = info(name)
    folder = root / about.folder
    check_root(root)
    # Asked first: torchvision's Caltech101 would make the folder.
    if not folder.is_dir():
        raise UserError(f"{name}: {folder}: no such folder; {about.how}")
    try:
        return _opened(about, READERS[name](root), root)
    except Exception as error:  # half a pickle or half a .mat file may raise anything
        raise UserError(f"{name}: {_reason(folder, error)}; {about.how}") from error


def check_root(root: Path) -> None:
    """Raises UserError for a data root that is missing or may not be looked into."""
    try:
        os.stat(f"{root}/.")  # the dot asks whether it may be looked into
    except OSError as error:
        raise UserError(
            f"data root {root}: {error.strerror}; --data-root names the folder that holds the data sets"
        ) from error


def _reason(folder: Path, error: Exception) -> str:
    """Why a reader failed, in a line. Torchvision calls a folder that it may not list missing."""
    if denied := forbidden(folder):
        return f"no permission to read {denied}"
    text = textwrap.shorten(str(error).partition(" You can use download=True")[0].rstrip("."), 300)
    if isinstance(error, PermissionError):
        return f"no permission to read {error.filename or folder}"
    kind = type(error).__name__
    return f"{folder} is incomplete or damaged ({f'{kind}: {text}' if text else kind})"


def _opened(about: Info, parts: tuple[Part, ...], root: Path) -> Opened:
    own = parts[0].classes
    for part in parts:
        _check_labels(part, own)
    if about.class_names and len(about.class_names) != len(own):
        raise ValueError(f"found {len(own)} classes, expected {len(about.class_names)}")
    names = about.class_names or tuple(name.replace("_", " ") for name in own)
    train, test = _random_halves(about.name, parts[0], root) if len(parts) == 1 else _halves(about.name, parts, root)
    return Opened(about, names, own, train, test)


def _check_labels(part: Part, classes: tuple[str, ...]) -> None:
    if part.classes != classes:
        odd = sorted(set(part.classes) ^ set(classes))
        raise ValueError(f"train and test do not list the same classes: {', '.join(odd) or 'another order'}")
    if len(part.labels) != len(part.dataset):
        raise ValueError(f"{len(part.dataset)} images have {len(part.labels)} labels")
    if part.labels and not 0 <= min(part.labels) <= max(part.labels) < len(classes):
        raise ValueError(f"labels go from {min(part.labels)} to {max(part.labels)}, with {len(classes)} classes")


def _images(name: str, part: Part, root: Path) -> Files:
    if part.archive:
        return in_archive(name, part.dataset, part.archive, root)
    return in_files(name, part.dataset, part.paths, root)


def _halves(name: str, parts: tuple[Part, ...], root: Path) -> tuple[Split, ...]:
    """The published halves, each with its images."""
    images = [_images(f"{name}-{half}", part, root) for half, part in zip(("train", "test"), parts, strict=True)]
    return tuple(
        Split(each, np.arange(each.count, dtype=np.int64), np.array(part.labels, dtype=np.int64))
        for each, part in zip(images, parts, strict=True)
    )


def _random_halves(name: str, part: Part, root: Path) -> tuple[Split, ...]:
    """ZSCL's random split of a data set that was published whole; both halves are rows of the same images."""
    import torch
    from torch.utils.data import random_split

    images, labels = _images(name, part, root), np.array(part.labels, dtype=np.int64)
    train = int(SHARE * images.count)
    halves = random_split(part.dataset, [train, images.count - train], torch.Generator().manual_seed(SEED))
    rows = [np.array(half.indices, dtype=np.int64) for half in halves]
    return tuple(Split(images, each, labels[each]) for each in rows)
