"""Checks that an opened data set is complete and as published, without decoding its images."""

import os
from pathlib import Path

import numpy as np

from benchmarks.config.errors import UserError
from benchmarks.config.settings import Splits
from benchmarks.datasets.image_files import Files
from benchmarks.datasets.opening import Opened, open_dataset
from benchmarks.images.sets import Split


# Possible errors of an image's file, and their causes.
MISSING = "missing"
EMPTY = "empty (0 bytes)"
DENIED = "not to be read (no permission)"
MEANING = {MISSING: "; the archive was extracted only in part", EMPTY: "; the copy was cut short", DENIED: ""}


def open_checked(name: str, root: Path, splits: Splits = "zscl") -> Opened:
    """Opens a data set and checks it: all files exist, and the numbers of images and classes are the published ones.

    No images are decoded.

    Args:
        name: of the data set, as in `Info.name`, for instance `CIFAR100`.
        root: the data root, the folder of all published data sets.
        splits: whose splits, class names and templates, as in `open_dataset`.

    Raises:
        UserError: the data set is missing, incomplete or not as published; the message says how to get it.
    """
    opened = open_dataset(name, root, splits)
    if found := problems(opened):
        raise UserError(f"{name}: {found[0]}; {opened.info.how}")
    return opened


def problems(opened: Opened) -> list[str]:
    """Returns what is wrong with a data set, one line each; empty if it is complete and as published.

    First come lines about missing, empty or unreadable files, then counts that differ from the published ones, then
    classes without images.

    Args:
        opened: the data set, as `open_dataset` returns it.
    """
    halves = {"train": opened.train, "test": opened.test}
    found = [line for half, split in halves.items() for line in _file_problems(half, split)]
    counts = {"train": len(opened.train), "test": len(opened.test), "classes": len(opened.class_names)}
    for key, expected in opened.info.expected.items():
        if counts[key] != expected:
            what = "classes" if key == "classes" else f"{key} images"
            found.append(f"found {counts[key]} {what}, expected {expected}")
    return found + [line for half, split in halves.items() for line in _class_problems(half, split, opened.class_names)]


def _file_problems(half: str, split: Split) -> list[str]:
    if not isinstance(split.images, Files) or not split.images.paths:
        return []  # an archive, which was read whole when it was opened
    files = [split.images.paths[row] for row in split.rows.tolist()]
    states = [_state(path) for path in files]
    lines = []
    for state, meaning in MEANING.items():
        if count := states.count(state):
            first = files[states.index(state)]
            verb = "is" if count == 1 else "are"
            lines.append(f"{count} of {len(files)} {half} images {verb} {state}, first {first}{meaning}")
    return lines


def _state(path: Path) -> str:
    """Returns what is wrong with a file; empty if nothing is."""
    try:
        size = path.stat().st_size
    except PermissionError:
        return DENIED
    except OSError:
        return MISSING
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        return DENIED
    return "" if size else EMPTY


def _class_problems(half: str, split: Split, names: tuple[str, ...]) -> list[str]:
    counts = np.bincount(split.labels, minlength=len(names))
    kind = "training" if half == "train" else "test"
    return [f'class "{names[label]}" has no {kind} image' for label in np.flatnonzero(counts == 0).tolist()]
