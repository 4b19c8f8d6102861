"""TinyImageNet: photographs of 200 of ImageNet's classes at 64x64; torchvision has no class for it."""

from pathlib import Path

import yaml

from benchmarks.datasets.about import Info
from benchmarks.datasets.parts import Listed, Part


INFO = Info(
    name="TinyImageNet",
    folder="tiny-imagenet-200",
    origin="http://cs231n.stanford.edu/",
    archive="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    download=False,
    by_hand=(
        "download http://cs231n.stanford.edu/tiny-imagenet-200.zip and extract it so that "
        "DATA_ROOT/tiny-imagenet-200/wnids.txt exists"
    ),
    split=(
        "the published train images for training, the validation images for testing (the test labels are not published)"
    ),
    licence="not stated",
    citation="Le, Yang: Tiny ImageNet Visual Recognition Challenge, CS 231N report, Stanford University, 2015",
    expected={"train": 100000, "test": 10000, "classes": 200},
    templates=("a bad photo of a {}.",),
)

CLASSES = Path(__file__).with_suffix(".yaml")


def read(root: Path) -> tuple[Part, ...]:
    """Returns two parts: the published training images, and the published validation images for testing.

    Each `Part` has images with their labels, class names and files. The labels of the published test images are not
    known.

    Args:
        root: the data root, which contains the folder `tiny-imagenet-200`.

    Raises:
        OSError, KeyError, ValueError: a list is missing, or contradicts another.
    """
    found = [TinyImageNet(root / INFO.folder, half) for half in ("train", "val")]
    return tuple(Part.of_files(each, each.labels, each.paths) for each in found)


class TinyImageNet(Listed):
    """The training or validation half of TinyImageNet; item i is (image, label).

    The class names and their order are those in `tinyimagenet.yaml`. The file `wnids.txt` must list the same classes,
    in any order, because mirrors sort it while the fixed class order refers to the published list.

    Args:
        folder: the folder `tiny-imagenet-200`.
        half: `train` or `val`.

    Attributes:
        classes: C names for prompts, in label order.
        labels: the label of each image, 0 to C - 1.
        paths: the file of each image; training images by class and file name, validation images in the order of their
            list.

    Raises:
        OSError, KeyError, ValueError: a list is missing, or contradicts another.
    """

    def __init__(self, folder: Path, half: str) -> None:
        names = yaml.safe_load(CLASSES.read_text(encoding="utf-8"))
        ids = list(names)
        found = (folder / "wnids.txt").read_text(encoding="utf-8").split()
        if odd := sorted({*ids} ^ {*found}):
            raise ValueError(f"{folder / 'wnids.txt'}: other classes than published: {', '.join(odd)}")
        label = {wnid: place for place, wnid in enumerate(ids)}
        pairs = _training(folder / "train", ids) if half == "train" else _validation(folder / "val")
        super().__init__(list(names.values()), [label[wnid] for _, wnid in pairs], [path for path, _ in pairs])


def _rows(path: Path, columns: int) -> list[list[str]]:
    """Returns the first columns of a tab-separated file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t")[:columns] for line in lines if line.strip()]
    if short := next((row for row in rows if len(row) < columns), None):
        raise ValueError(f"{path}: a line with {len(short)} of {columns} columns")
    return rows


def _training(folder: Path, ids: list[str]) -> list[tuple[Path, str]]:
    return [(path, wnid) for wnid in ids for path in sorted((folder / wnid / "images").iterdir()) if _is_image(path)]


def _is_image(path: Path) -> bool:
    return path.suffix == ".JPEG" and not path.name.startswith(".")


def _validation(folder: Path) -> list[tuple[Path, str]]:
    return [(folder / "images" / name, wnid) for name, wnid in _rows(folder / "val_annotations.txt", 2)]
