"""SUN397: photographs of scenes."""

from functools import partial
from pathlib import Path

from torchvision.datasets import SUN397

from benchmarks.datasets.about import Info
from benchmarks.datasets.image_files import forbidden
from benchmarks.datasets.parts import Part
from benchmarks.datasets.random_split import random_halves


INFO = Info(
    name="SUN397",
    folder="SUN397",
    origin="https://vision.princeton.edu/projects/2010/SUN/",
    archive="http://vision.princeton.edu/projects/2010/SUN/SUN397.tar.gz",
    download=True,
    by_hand=(
        "extract SUN397.tar.gz so that DATA_ROOT/SUN397/ClassName.txt exists, from a mirror, since its own link has "
        "been reported dead since 2025 (github.com/pytorch/vision/issues/9348)"
    ),
    split=(
        "a random 80 % of all images for training and the rest for testing (torch's random_split, seed 42, int(0.8 n)),"
        " after sorting the files by path: torchvision lists them in the file system's order, which makes the published"
        " split another one on each machine"
    ),
    licence="not stated",
    citation=(
        "Xiao, Hays, Ehinger, Oliva, Torralba: SUN Database: Large-scale Scene Recognition from Abbey to Zoo, CVPR 2010"
    ),
    expected={"train": 87003, "test": 21751, "classes": 397},
    templates=(
        "a photo of a {}.",
        "a photo of the {}.",
    ),
)


def read(root: Path) -> tuple[Part, Part]:
    """Returns two parts of all images: 80 % for training, the rest for testing, drawn at random with a fixed seed.

    Each `Part` has images with their labels, class names and files. The images are sorted by path first, because
    torchvision lists them in the file system's order, with which the random split would differ between machines.

    Args:
        root: the data root, which contains the folder `SUN397`.

    Raises:
        PermissionError: a folder of the data set may not be listed.
    """
    dataset = SUN397(root)
    if denied := forbidden(root / "SUN397"):  # torchvision silently skips folders that it may not list
        raise PermissionError(f"no permission to read {denied}")
    pairs = sorted(zip(dataset._image_files, dataset._labels, strict=True), key=lambda pair: pair[0].parts)
    dataset._image_files, dataset._labels = [path for path, _ in pairs], [label for _, label in pairs]
    return random_halves(Part.of_files(dataset, dataset._labels, dataset._image_files))


download = partial(SUN397, download=True)
