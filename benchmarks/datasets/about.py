"""The facts about each published data set, discovered in this folder and read without importing torchvision."""

import ast
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks import datasets
from benchmarks.config.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Info:
    """The facts about one data set.

    Splits, class names, templates and counts of MTIL's eleven data sets are ZSCL's (arXiv 2303.06628), including its
    errors, because published results depend on them. TinyImageNet's are those of ZSCL's class-incremental code.

    Attributes:
        name: as in tables and on the command line; its file has the same name in lower case.
        folder: the name of its folder in the data root, where torchvision expects it.
        origin, archive: URLs of its page and of its archive.
        download: whether torchvision can download it.
        checksum: whether torchvision verifies the archive; if not, an interrupted download is not resumed.
        by_hand: where to get it and where to put it, in one clause, for messages.
        split: which images are for training and which for testing, in words.
        licence, citation: as the owner states them.
        expected: published counts by the keys `train` and `test` (images) and `classes`.
        templates: the prompts, each with one `{}` for the class name; training uses the first.
        class_names: names that replace the data set's own, in label order; empty if its own are used.
    """

    name: str
    folder: str
    origin: str
    archive: str
    download: bool
    checksum: bool = True
    by_hand: str
    split: str
    licence: str
    citation: str
    expected: Mapping[str, int]
    templates: tuple[str, ...]
    class_names: tuple[str, ...] = ()

    @property
    def how(self) -> str:
        """How to get the data set, for messages: the command that downloads it, if any, and `by_hand`."""
        fetched = f"benchmarks.prepare --download fetches {self.archive}; or " if self.download else ""
        return fetched + self.by_hand


@cache
def infos() -> dict[str, Info]:
    """Returns the facts about every data set by its name (`Info.name`), in the alphabetical order of their files.

    Raises:
        UserError: the facts that a data set's file states as `INFO = Info(...)` cannot be read, or the file's name is
            not the data set's in lower case.
    """
    files = [path for folder in datasets.__path__ for path in Path(folder).glob("*.py")]
    found = [_read_info(path) for path in sorted(files, key=lambda path: path.name)]
    return {each.name: each for each in found if each}


def _read_info(path: Path) -> Info | None:
    """Returns the facts that a file states as `INFO = Info(...)`; None if it has no `INFO`, and so is no data set."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="INFO")], value=ast.Call(keywords=fields)):
                break
    else:
        return None
    try:
        info = Info(**{str(field.arg): _literal(field) for field in fields})
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: INFO: {error}") from error
    if path.stem != info.name.lower():
        raise UserError(f'{path}: the file of a data set called "{info.name}" is to be called {info.name.lower()}.py')
    return info


def _literal(field: ast.keyword) -> Any:
    try:
        return ast.literal_eval(field.value)
    except ValueError as error:
        raise ValueError(f"{field.arg} is not written out: it is read without running the file") from error


def info(name: str) -> Info:
    """Returns the facts about one data set. Raises UserError if the name is unknown.

    Args:
        name: of the data set, as in `Info.name`, for instance `CIFAR100`.
    """
    if name not in infos():
        raise UserError(f'no data set is called "{name}"; there are {", ".join(infos())}')
    return infos()[name]


def module(name: str) -> Any:
    """Imports the Python file that defines a data set, and returns the module; this may import torch and torchvision.

    Its function `read(root)` returns the training and the test images found in the data root, as two `Part`. If
    torchvision can download the data set, it also has `download(root)`.

    Args:
        name: of the data set, as in `Info.name`, for instance `CIFAR100`.

    Raises:
        UserError: the name is unknown.
    """
    return importlib.import_module(f"{datasets.__name__}.{info(name).name.lower()}")
