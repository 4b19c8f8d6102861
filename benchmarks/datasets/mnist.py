"""MNIST: handwritten digits."""

from functools import partial
from pathlib import Path

from torchvision.datasets import MNIST

from benchmarks.datasets.about import Info
from benchmarks.datasets.parts import Part


INFO = Info(
    name="MNIST",
    folder="MNIST",
    origin="http://yann.lecun.com/exdb/mnist/",
    archive="https://ossci-datasets.s3.amazonaws.com/mnist/",
    download=True,
    by_hand="unpack the four *-ubyte.gz files into DATA_ROOT/MNIST/raw",
    split="the published halves",
    licence="not stated",
    citation=(
        "LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition, Proceedings of the "
        "IEEE 86(11), 1998"
    ),
    expected={"train": 60000, "test": 10000, "classes": 10},
    templates=('a photo of the number: "{}".',),
)


def read(root: Path) -> tuple[Part, Part]:
    """Returns two parts: the published training images and the published test images.

    Each `Part` has images with their labels and class names, and the one file that holds all of them.

    Args:
        root: the data root, which contains the folder `MNIST`.
    """
    return _half(MNIST(root, train=True), "train"), _half(MNIST(root, train=False), "t10k")


def _half(dataset: MNIST, prefix: str) -> Part:
    archive = Path(dataset.raw_folder, f"{prefix}-images-idx3-ubyte")
    if dataset._check_legacy_exist():  # torchvision prefers the files in processed/ of its versions before 0.9
        archive = Path(dataset.processed_folder, dataset.training_file if dataset.train else dataset.test_file)
    return Part(dataset, tuple(dataset.classes), dataset.targets.tolist(), archive=archive)


download = partial(MNIST, download=True)
