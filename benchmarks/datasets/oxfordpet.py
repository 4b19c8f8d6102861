"""Oxford-IIIT Pet: photographs of cats and dogs, by breed."""

from functools import partial
from pathlib import Path

from torchvision.datasets import OxfordIIITPet

from benchmarks.datasets.about import Info
from benchmarks.datasets.parts import Part


INFO = Info(
    name="OxfordPet",
    folder="oxford-iiit-pet",
    origin="https://www.robots.ox.ac.uk/~vgg/data/pets/",
    archive="https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",
    download=True,
    by_hand=(
        "extract images.tar.gz and annotations.tar.gz (from the same folder) so that DATA_ROOT/oxford-iiit-pet/images "
        "and annotations exist"
    ),
    split="the published trainval images for training, test for testing",
    licence="CC BY-SA 4.0",
    citation="Parkhi, Vedaldi, Zisserman, Jawahar: Cats and Dogs, CVPR 2012",
    expected={"train": 3680, "test": 3669, "classes": 37},
    templates=("a photo of a {}, a type of pet.",),
)


def read(root: Path) -> tuple[Part, ...]:
    """Returns two parts: the published `trainval` images, for training, and the published `test` images.

    Each `Part` has images with their labels, class names (the breeds) and files.

    Args:
        root: the data root, which contains the folder `oxford-iiit-pet`.
    """
    found = [OxfordIIITPet(root, split=half) for half in ("trainval", "test")]
    return tuple(Part.of_files(each, each._labels, each._images) for each in found)


download = partial(OxfordIIITPet, download=True)
