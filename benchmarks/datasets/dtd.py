"""DTD: photographs of textures."""

from functools import partial
from pathlib import Path

from torchvision.datasets import DTD

from benchmarks.datasets.about import Info
from benchmarks.datasets.parts import Part


INFO = Info(
    name="DTD",
    folder="dtd",
    origin="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
    archive="https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
    download=True,
    by_hand="extract dtd-r1.0.1.tar.gz in DATA_ROOT/dtd so that DATA_ROOT/dtd/dtd/images exists",
    split="partition 1: train for training, test for testing (val unused)",
    licence="for research purposes",
    citation="Cimpoi, Maji, Kokkinos, Mohamed, Vedaldi: Describing Textures in the Wild, CVPR 2014",
    expected={"train": 1880, "test": 1880, "classes": 47},
    templates=(
        "a photo of a {} texture.",
        "a photo of a {} pattern.",
        "a photo of a {} thing.",
        "a photo of a {} object.",
        "a photo of the {} texture.",
        "a photo of the {} pattern.",
        "a photo of the {} thing.",
        "a photo of the {} object.",
    ),
)


def read(root: Path) -> tuple[Part, ...]:
    """Returns two parts: the `train` images of partition 1, for training, and its `test` images.

    Each `Part` has images with their labels, class names and files. Partition 1 is torchvision's default; its `val`
    images are not used.

    Args:
        root: the data root, which contains the folder `dtd`.
    """
    found = [DTD(root, split=half) for half in ("train", "test")]
    return tuple(Part.of_files(each, each._labels, each._image_files) for each in found)


download = partial(DTD, download=True)
