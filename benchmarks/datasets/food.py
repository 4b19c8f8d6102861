"""Food: photographs of 101 dishes."""

from functools import partial
from pathlib import Path

from torchvision.datasets import Food101

from benchmarks.datasets.about import Info
from benchmarks.datasets.parts import Part


INFO = Info(
    name="Food",
    folder="food-101",
    origin="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
    archive="http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
    download=True,
    by_hand="extract food-101.tar.gz so that DATA_ROOT/food-101/images exists",
    split="the published halves",
    licence="scientific fair use; the images are Foodspotting's users'",
    citation=(
        "Bossard, Guillaumin, Van Gool: Food-101 - Mining Discriminative Components with Random Forests, ECCV 2014"
    ),
    expected={"train": 75750, "test": 25250, "classes": 101},
    templates=("a photo of a {}, a type of food.",),
)


def read(root: Path) -> tuple[Part, ...]:
    """Returns two parts: the published training images and the published test images.

    Each `Part` has images with their labels, class names and files.

    Args:
        root: the data root, which contains the folder `food-101`.
    """
    found = [Food101(root, split=half) for half in ("train", "test")]
    return tuple(Part.of_files(each, each._labels, each._image_files) for each in found)


download = partial(Food101, download=True)
