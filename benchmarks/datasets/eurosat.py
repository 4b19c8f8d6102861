"""EuroSAT: satellite images of land, under ZSCL's class names."""

import os
from functools import partial
from pathlib import Path

from torchvision.datasets import EuroSAT

from benchmarks.datasets.about import Info
from benchmarks.datasets.parts import Part
from benchmarks.datasets.random_split import random_halves


INFO = Info(
    name="EuroSAT",
    folder="eurosat",
    origin="https://github.com/phelber/EuroSAT",
    archive="https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
    download=True,
    by_hand="extract EuroSAT.zip (the RGB images) in DATA_ROOT/eurosat so that DATA_ROOT/eurosat/2750 exists",
    split=(
        "a random 80 % of all images for training and the rest for testing (torch's random_split, seed 42, int(0.8 n))"
    ),
    licence="MIT",
    citation=(
        "Helber, Bischke, Dengel, Borth: EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use and Land "
        "Cover Classification, IEEE JSTARS 12(7), 2019"
    ),
    expected={"train": 21600, "test": 5400, "classes": 10},
    templates=(
        "a centered satellite photo of {}.",
        "a centered satellite photo of a {}.",
        "a centered satellite photo of the {}.",
    ),
    class_names=(
        "annual crop land",
        "forest",
        "brushland or shrubland",
        "highway or road",
        "industrial buildings or commercial buildings",
        "pasture land",
        "permanent crop land",
        "residential buildings or homes or apartments",
        "river",
        "lake or sea",
    ),
)


def read(root: Path) -> tuple[Part, Part]:
    """Returns two parts of all images: 80 % for training, the rest for testing, drawn at random with a fixed seed.

    Each `Part` has images with their labels, class names and files. The images are sorted by class folder and file
    name.

    Args:
        root: the data root, which contains the folder `eurosat`.

    Raises:
        OSError: a symbolic link in the folder leads to a folder that it lies in.
    """
    _refuse_loops(root / "eurosat" / "2750")
    dataset = EuroSAT(root)
    return random_halves(Part.of_files(dataset, dataset.targets, [path for path, _ in dataset.samples]))


def _refuse_loops(folder: Path) -> None:
    """Raises OSError for a symbolic link to a folder above it; torchvision follows links, and with two of them
    endlessly.
    """
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            link = Path(parent, name)
            if link.is_symlink() and link.resolve() in (Path(parent).resolve(), *Path(parent).resolve().parents):
                raise OSError(f"{link} is a symbolic link to a folder that it lies in")


download = partial(EuroSAT, download=True)
