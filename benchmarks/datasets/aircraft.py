"""FGVC-Aircraft: photographs of aircraft, by variant."""

from functools import partial
from pathlib import Path

from torchvision.datasets import FGVCAircraft

from benchmarks.datasets.about import Info
from benchmarks.datasets.parts import Part


INFO = Info(
    name="Aircraft",
    folder="fgvc-aircraft-2013b",
    origin="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
    archive="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",
    download=True,
    checksum=False,
    by_hand="extract fgvc-aircraft-2013b.tar.gz so that DATA_ROOT/fgvc-aircraft-2013b/data exists",
    split="the published train images of the 100 variants for training, test for testing (val unused)",
    licence="non-commercial research only; the photographers keep the copyright",
    citation=(
        "Maji, Kannala, Rahtu, Blaschko, Vedaldi: Fine-Grained Visual Classification of Aircraft, arXiv 1306.5151, 2013"
    ),
    expected={"train": 3334, "test": 3333, "classes": 100},
    templates=(
        "a photo of a {}, a type of aircraft.",
        "a photo of the {}, a type of aircraft.",
    ),
)


def read(root: Path) -> tuple[Part, ...]:
    """Returns two parts: the published `train` images, for training, and the published `test` images.

    Each `Part` has images with their labels, class names (the 100 variants) and files. The `val` images are not used.

    Args:
        root: the data root, which contains the folder `fgvc-aircraft-2013b`.
    """
    found = [FGVCAircraft(root, split=half) for half in ("train", "test")]
    return tuple(Part.of_files(each, each._labels, each._image_files) for each in found)


download = partial(FGVCAircraft, split="train", download=True)
