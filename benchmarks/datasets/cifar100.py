"""CIFAR100: 32x32 photographs of 100 kinds of things."""

from functools import partial
from pathlib import Path

from torchvision.datasets import CIFAR100

from benchmarks.datasets.about import Info
from benchmarks.datasets.parts import Part


INFO = Info(
    name="CIFAR100",
    folder="cifar-100-python",
    origin="https://www.cs.toronto.edu/~kriz/cifar.html",
    archive="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    download=True,
    by_hand="extract cifar-100-python.tar.gz so that DATA_ROOT/cifar-100-python/train exists",
    split="the published halves",
    licence="not stated",
    citation=(
        "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, technical report, University of Toronto, "
        "2009"
    ),
    expected={"train": 50000, "test": 10000, "classes": 100},
    templates=(
        "a photo of a {}.",
        "a blurry photo of a {}.",
        "a black and white photo of a {}.",
        "a low contrast photo of a {}.",
        "a high contrast photo of a {}.",
        "a bad photo of a {}.",
        "a good photo of a {}.",
        "a photo of a small {}.",
        "a photo of a big {}.",
        "a photo of the {}.",
        "a blurry photo of the {}.",
        "a black and white photo of the {}.",
        "a low contrast photo of the {}.",
        "a high contrast photo of the {}.",
        "a bad photo of the {}.",
        "a good photo of the {}.",
        "a photo of the small {}.",
        "a photo of the big {}.",
    ),
)


def read(root: Path) -> tuple[Part, Part]:
    """Returns two parts: the published training images and the published test images.

    Each `Part` has images with their labels and class names, and the one file that holds all of them.

    Args:
        root: the data root, which contains the folder `cifar-100-python`.
    """
    return _half(root, "train"), _half(root, "test")


def _half(root: Path, half: str) -> Part:
    dataset = CIFAR100(root, train=half == "train")
    return Part(dataset, tuple(dataset.classes), dataset.targets, archive=root / dataset.base_folder / half)


download = partial(CIFAR100, download=True)
