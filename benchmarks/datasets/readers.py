"""How each data set is read: through torchvision's own class, whose object goes on to read the images.

A reader gets the data root and gives the parts that the owner published: two halves, or one whole that is still to be split.
It may raise whatever torchvision, pickle or scipy raise over files that are missing or damaged.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.datasets.tiny_imagenet import TinyImageNet


@dataclass(frozen=True)
class Part:
    """One torchvision object in this project's terms.

    Attributes:
        dataset: gives (image, label) for an index.
        classes: its own names, in label order.
        labels: of all images, in order.
        paths: each image's own file, in order; empty where `archive` holds them all.
    """

    dataset: Any
    classes: tuple[str, ...]
    labels: list[int]
    paths: tuple[Path, ...] = ()
    archive: Path | None = None


def _part(dataset: Any, labels: list[int], files: list[Any]) -> Part:
    return Part(dataset, tuple(dataset.classes), labels, tuple(map(Path, files)))


def _halves(kind: str, root: Path, train: str = "train", files: str = "_image_files") -> tuple[Part, ...]:
    """Data sets with published halves and a file for each image."""
    from torchvision import datasets

    found = [getattr(datasets, kind)(root, split=split) for split in (train, "test")]
    return tuple(_part(dataset, dataset._labels, getattr(dataset, files)) for dataset in found)


def _caltech101(root: Path) -> tuple[Part]:
    """Ordered by class folder and number. It asks no directory for names, so a missing file shows only when it is read."""
    from torchvision.datasets import Caltech101

    dataset = Caltech101(root)
    folders = [Path(dataset.root, "101_ObjectCategories", category) for category in dataset.categories]
    paths = [folders[y] / f"image_{number:04d}.jpg" for y, number in zip(dataset.y, dataset.index, strict=True)]
    return (Part(dataset, tuple(dataset.categories), dataset.y, tuple(paths)),)


def _cifar100(root: Path) -> tuple[Part, ...]:
    from torchvision.datasets import CIFAR100

    found = [(CIFAR100(root, train=half == "train"), half) for half in ("train", "test")]
    return tuple(
        Part(dataset, tuple(dataset.classes), dataset.targets, archive=root / dataset.base_folder / half)
        for dataset, half in found
    )


def _mnist(root: Path) -> tuple[Part, ...]:
    from torchvision.datasets import MNIST

    return tuple(_mnist_half(MNIST(root, train=train)) for train in (True, False))


def _mnist_half(dataset: Any) -> Part:
    archive = Path(dataset.raw_folder, f"{'train' if dataset.train else 't10k'}-images-idx3-ubyte")
    if dataset._check_legacy_exist():  # torchvision prefers what its versions before 0.9 left in processed/
        archive = Path(dataset.processed_folder, dataset.training_file if dataset.train else dataset.test_file)
    return Part(dataset, tuple(dataset.classes), dataset.targets.tolist(), archive=archive)


def _eurosat(root: Path) -> tuple[Part]:
    """Ordered by class folder and file name."""
    from torchvision.datasets import EuroSAT

    refuse_loops(root / "eurosat" / "2750")
    dataset = EuroSAT(root)
    return (_part(dataset, dataset.targets, [path for path, _ in dataset.samples]),)


def refuse_loops(folder: Path) -> None:
    """Raises OSError for a symbolic link to a folder that it lies in: torchvision follows links, for ever with two of them."""
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            link = Path(parent, name)
            if link.is_symlink() and link.resolve() in (Path(parent).resolve(), *Path(parent).resolve().parents):
                raise OSError(f"{link} is a symbolic link to a folder that it lies in")


def _stanford_cars(root: Path) -> tuple[Part, ...]:
    from torchvision.datasets import StanfordCars

    found = [StanfordCars(root, split=split) for split in ("train", "test")]
    return tuple(
        _part(dataset, [int(label) for _, label in dataset._samples], [path for path, _ in dataset._samples])
        for dataset in found
    )


def _sun397(root: Path) -> tuple[Part]:
    """Sorted by path: torchvision leaves the files in the file system's order, and with it the random split."""
    from torchvision.datasets import SUN397

    dataset = SUN397(root)
    if denied := forbidden(root / "SUN397"):  # torchvision passes over folders that it may not list
        raise PermissionError(f"no permission to read {denied}")
    pairs = sorted(zip(dataset._image_files, dataset._labels, strict=True), key=lambda pair: pair[0].parts)
    dataset._image_files, dataset._labels = [path for path, _ in pairs], [label for _, label in pairs]
    return (_part(dataset, dataset._labels, dataset._image_files),)


def forbidden(folder: Path) -> str | None:
    """The first folder, this one or one below it, that may not be listed."""
    errors: list[OSError] = []
    for _ in os.walk(folder, onerror=errors.append):
        pass
    return next((error.filename for error in errors if isinstance(error, PermissionError)), None)


def _tiny_imagenet(root: Path) -> tuple[Part, ...]:
    found = [TinyImageNet(root / "tiny-imagenet-200", half) for half in ("train", "val")]
    return tuple(_part(dataset, dataset.labels, dataset.paths) for dataset in found)


READERS: dict[str, Callable[[Path], tuple[Part, ...]]] = {
    "Aircraft": partial(_halves, "FGVCAircraft"),
    "Caltech101": _caltech101,
    "CIFAR100": _cifar100,
    "DTD": partial(_halves, "DTD"),  # partition 1 unless told otherwise
    "EuroSAT": _eurosat,
    "Flowers": partial(_halves, "Flowers102"),
    "Food": partial(_halves, "Food101"),
    "MNIST": _mnist,
    "OxfordPet": partial(_halves, "OxfordIIITPet", train="trainval", files="_images"),
    "StanfordCars": _stanford_cars,
    "SUN397": _sun397,
    "TinyImageNet": _tiny_imagenet,
}
