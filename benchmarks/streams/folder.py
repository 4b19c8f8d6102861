"""Any folder of images: PATH/<domain>/{train,test}/<class>/<image>, written folder:PATH.

Each domain is a task, in alphabetical order. Class names are the class folders' names, underscores turned into spaces; the
one template is "a photo of a {}.". Hidden files and files that are no images by their ending are passed over.
"""

import struct
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.errors import UserError
from benchmarks.streams import Split, Stream, Task


TEMPLATES = ("a photo of a {}.",)
ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm"}


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _images(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.suffix.lower() in ENDINGS and not file.name.startswith("."))


def _read(files: list[Path], index: int) -> Image.Image:
    try:
        with Image.open(files[index]) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise UserError(f"{files[index]}: not a readable image ({error})") from error


def _split(path: Path, classes: list[str]) -> Split:
    """The images below one `train` or `test` folder, labelled by their place in `classes`."""
    if not path.is_dir():
        raise UserError(
            f"{path}: missing; a domain needs the folders train and test, each with a folder for each class"
        )
    if strange := [folder.name for folder in _folders(path) if folder.name not in classes]:
        raise UserError(f'{path}: class "{strange[0]}" has no folder in train')
    files, labels = [], []
    for label, name in enumerate(classes):
        found = _images(path / name) if (path / name).is_dir() else []
        if not found:
            raise UserError(f"{path / name}: no image in this class (known endings: {', '.join(sorted(ENDINGS))})")
        files += found
        labels += [label] * len(found)
    if not files:
        raise UserError(f"{path}: no class folders in it")
    return Split(np.array(labels, dtype=np.int64), partial(_read, files))


def _task(domain: Path) -> Task:
    train = domain / "train"
    classes = [folder.name for folder in _folders(train)] if train.is_dir() else []
    names = tuple(name.replace("_", " ") for name in classes)
    if len(set(names)) < len(names):
        raise UserError(f"{train}: two class folders have the same name once underscores are spaces")
    return Task(
        name=domain.name,
        class_names=names,
        templates=TEMPLATES,
        train=_split(train, classes),
        test=_split(domain / "test", classes),
    )


def build(argument: str) -> Stream:
    """The stream of the domains below the folder `argument`.

    Raises:
        UserError: no path given, nothing there, or a domain that is not laid out as expected, naming the folder.
    """
    if not argument:
        raise UserError("--stream folder: needs a path, as in folder:PATH")
    path = Path(argument)
    if not path.is_dir():
        raise UserError(f"--stream folder:{path}: no such folder")
    if {"train", "test"} & {folder.name for folder in _folders(path)}:
        raise UserError(f"--stream folder:{path}: this is one domain; name the folder that holds the domains")
    tasks = tuple(_task(domain) for domain in _folders(path))
    if not tasks:
        raise UserError(f"--stream folder:{path}: no domain folders in it; expected <domain>/train/<class>/<image>")
    return Stream(tasks=tasks, orders={"default": tuple(task.name for task in tasks)})
