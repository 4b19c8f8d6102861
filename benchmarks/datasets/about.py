"""What is known about each data set before it is opened: `mtil.yaml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from benchmarks.config.errors import UserError


# Those of MTIL in order I. TinyImageNet is known besides.
NAMES = (
    "Aircraft", "Caltech101", "CIFAR100", "DTD", "EuroSAT", "Flowers", "Food", "MNIST", "OxfordPet", "StanfordCars", "SUN397",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Info:
    """A data set's entry.

    Attributes:
        folder: below the data root, where torchvision expects it.
        origin, archive: addresses of its page and of what is to be downloaded.
        download: whether torchvision knows how to fetch it.
        by_hand: where to get it and where to put it, in one sentence.
        split: which images are for training and which for testing, in words.
        licence, citation: as its owner states them.
        expected: published counts: `train`, `test`, `classes`.
        templates: prompts with one `{}`.
        class_names: those that stand in for the data set's own, in label order; empty where its own are used.
    """

    name: str
    folder: str
    origin: str
    archive: str
    download: bool
    by_hand: str
    split: str
    licence: str
    citation: str
    expected: Mapping[str, int]
    templates: tuple[str, ...]
    class_names: tuple[str, ...] = ()

    @property
    def how(self) -> str:
        """How to get it, in one sentence."""
        fetched = f"benchmarks.prepare --download fetches {self.archive}; or " if self.download else ""
        return fetched + self.by_hand


@cache
def infos() -> dict[str, Info]:
    """Every data set's entry, by name: MTIL's in order I, then TinyImageNet's."""
    entries = yaml.safe_load((Path(__file__).parent / "mtil.yaml").read_text(encoding="utf-8"))
    return {name: _info(name, entry) for name, entry in entries.items()}


def _info(name: str, entry: dict[str, Any]) -> Info:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return Info(name=name, **values)


def info(name: str) -> Info:
    """One data set's entry. Raises UserError for a name that there isn't."""
    if name not in infos():
        raise UserError(f'no data set is called "{name}"; there are {", ".join(infos())}')
    return infos()[name]
