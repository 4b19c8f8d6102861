"""Stanford Cars: photographs of cars, by make, model and year."""

from pathlib import Path

from torchvision.datasets import StanfordCars

from benchmarks.datasets.about import Info
from benchmarks.datasets.parts import Part


INFO = Info(
    name="StanfordCars",
    folder="stanford_cars",
    origin="https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
    archive="http://ai.stanford.edu/~jkrause/car196/cars_train.tgz",
    download=False,
    by_hand=(
        "its site is gone: take cars_train, cars_test, devkit and cars_test_annos_withlabels.mat from a mirror "
        "(github.com/pytorch/vision/issues/7545 names some) into DATA_ROOT/stanford_cars"
    ),
    split="the published halves",
    licence="not stated",
    citation=(
        "Krause, Stark, Deng, Fei-Fei: 3D Object Representations for Fine-Grained Categorization, 3DRR workshop at ICCV"
        " 2013"
    ),
    expected={"train": 8144, "test": 8041, "classes": 196},
    templates=(
        "a photo of a {}, a type of car.",
        "a photo of a {}.",
        "a photo of the {}.",
        "a photo of my {}.",
        "i love my {}!",
        "a photo of my dirty {}.",
        "a photo of my clean {}.",
        "a photo of my new {}.",
        "a photo of my old {}.",
    ),
)


def read(root: Path) -> tuple[Part, Part]:
    """Returns two parts: the published training images and the published test images.

    Each `Part` has images with their labels, class names and files.

    Args:
        root: the data root, which contains the folder `stanford_cars`.
    """
    return _half(root, "train"), _half(root, "test")


def _half(root: Path, half: str) -> Part:
    dataset = StanfordCars(root, split=half)
    labels = [int(label) for _, label in dataset._samples]
    return Part.of_files(dataset, labels, [path for path, _ in dataset._samples])
