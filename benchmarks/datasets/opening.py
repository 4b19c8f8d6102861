"""Opens a data set: turns what its file's `read` returns into splits with labels and class names."""

import os
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.config.errors import UserError
from benchmarks.config.settings import Splits
from benchmarks.datasets import coop
from benchmarks.datasets.about import Info, info, module
from benchmarks.datasets.image_files import Files, forbidden, in_archive, in_files
from benchmarks.datasets.parts import Part
from benchmarks.images.sets import Split


@dataclass(frozen=True)
class Opened:
    """A data set as found on disk, with C classes.

    Attributes:
        info: the published facts about it.
        class_names: C names for prompts, in label order.
        own_names: C names as the data set's files have them, in label order, for instance with underscores.
        train, test: its training and test images, with labels 0 to C - 1.
    """

    info: Info
    class_names: tuple[str, ...]
    own_names: tuple[str, ...]
    train: Split
    test: Split


def open_dataset(name: str, root: Path, splits: Splits = "zscl") -> Opened:
    """Returns a data set; its lists of images and labels are read, but no images are decoded.

    Args:
        name: of the data set, as in `Info.name`.
        root: the data root, the folder of all published data sets.
        splits: whose splits, class names and templates: `zscl`, or `coop` for those of `benchmarks.datasets.coop`.

    Raises:
        UserError: the data root or the data set is missing, incomplete or damaged; the message says how to get it.
    """
    about = coop.facts(info(name)) if splits == "coop" else info(name)
    folder = root / about.folder
    check_root(root)
    if splits == "coop" and name in coop.FILES:
        return _opened(about, *coop.read(name, root), root)
    # Checked first, because torchvision's Caltech101 would create the folder.
    if not folder.is_dir():
        raise UserError(f"{name}: {folder}: no such folder; {about.how}")
    read = module(name).read
    try:
        train, test = read(root)
        return _opened(about, train, test, root)
    except Exception as error:  # half a pickle or half a .mat file may raise anything
        raise UserError(f"{name}: {_reason(folder, error)}; {about.how}") from error


def check_root(root: Path) -> None:
    """Raises UserError if the data root, the folder of all published data sets, is missing or cannot be read."""
    try:
        os.stat(f"{root}/.")  # the dot checks that the folder may be searched
    except OSError as error:
        raise UserError(
            f"data root {root}: {error.strerror}; --data-root names the folder that holds the data sets; if there is none "
            "yet, make it, and benchmarks.prepare says what belongs into it"
        ) from error


def _reason(folder: Path, error: Exception) -> str:
    """Returns why reading failed, in one line. Torchvision reports a folder that it may not list as missing."""
    if denied := forbidden(folder):
        return f"no permission to read {denied}"
    text = textwrap.shorten(str(error).partition(" You can use download=True")[0].rstrip("."), 300)
    if isinstance(error, PermissionError):
        return f"no permission to read {error.filename or folder}"
    kind = type(error).__name__
    return f"{folder} is incomplete or damaged ({f'{kind}: {text}' if text else kind})"


def _opened(about: Info, train: Part, test: Part, root: Path) -> Opened:
    own = train.classes
    for part in (train, test):
        _check_labels(part, own)
    if about.class_names and len(about.class_names) != len(own):
        raise ValueError(f"found {len(own)} classes, expected {len(about.class_names)}")
    names = about.class_names or tuple(name.replace("_", " ") for name in own)
    return Opened(about, names, own, *_splits(about.name, train, test, root))


def _check_labels(part: Part, classes: tuple[str, ...]) -> None:
    if part.classes != classes:
        odd = sorted(set(part.classes) ^ set(classes))
        raise ValueError(f"train and test do not list the same classes: {', '.join(odd) or 'another order'}")
    if len(part.labels) != len(part.dataset):
        raise ValueError(f"{len(part.dataset)} images have {len(part.labels)} labels")
    if part.labels and not 0 <= min(part.labels) <= max(part.labels) < len(classes):
        raise ValueError(f"labels go from {min(part.labels)} to {max(part.labels)}, with {len(classes)} classes")


def _splits(name: str, train: Part, test: Part, root: Path) -> tuple[Split, Split]:
    """Returns both splits; those of a data set that was published as a whole share their images."""
    if train.dataset is test.dataset:
        images = _images(name, train, root)
        return _split(train, images), _split(test, images)
    return _split(train, _images(f"{name}-train", train, root)), _split(test, _images(f"{name}-test", test, root))


def _images(name: str, part: Part, root: Path) -> Files:
    if part.archive:
        return in_archive(name, part.dataset, part.archive, root)
    return in_files(name, part.dataset, part.paths, root)


def _split(part: Part, images: Files) -> Split:
    rows = np.arange(images.count, dtype=np.int64) if part.rows is None else part.rows
    return Split(images, rows, np.array(part.labels, dtype=np.int64)[rows])
