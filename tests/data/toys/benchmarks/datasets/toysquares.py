"""Toy squares of one colour."""

from pathlib import Path

from torchvision.datasets import ImageFolder

from benchmarks.datasets.about import Info
from benchmarks.datasets.parts import Part


INFO = Info(
    name="ToySquares",
    folder="toy-squares",
    origin="drawn",
    archive="",
    download=False,
    by_hand="draw it",
    split="drawn halves",
    licence="none needed",
    citation="nobody",
    expected={"train": 12, "test": 6, "classes": 2},
    templates=("a square that is {}.",),
)


def read(root: Path) -> tuple[Part, ...]:
    found = [ImageFolder(root / INFO.folder / half) for half in ("train", "test")]
    return tuple(Part.of_files(each, each.targets, [path for path, _ in each.samples]) for each in found)
