"""Caltech101: photographs of 101 kinds of objects, under ZSCL's class names.

Names like "water lilly" and the two spaces in "head of a  crocodile" are ZSCL's: the published figures depend on them.
"""

from functools import partial
from pathlib import Path

from torchvision.datasets import Caltech101

from benchmarks.datasets.about import Info
from benchmarks.datasets.parts import Part
from benchmarks.datasets.random_split import random_halves


INFO = Info(
    name="Caltech101",
    folder="caltech101",
    origin="https://data.caltech.edu/records/mzrjq-6wc02",
    archive="https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
    download=True,
    by_hand=(
        "extract caltech-101.zip and the 101_ObjectCategories.tar.gz in it so that "
        "DATA_ROOT/caltech101/101_ObjectCategories exists"
    ),
    split=(
        "a random 80 % of all images for training and the rest for testing (torch's random_split, seed 42, int(0.8 n)),"
        " the background class left out"
    ),
    licence="CC BY 4.0",
    citation="Li, Andreetto, Ranzato, Perona: Caltech 101, CaltechDATA, doi 10.22002/D1.20086, 2022",
    expected={"train": 6941, "test": 1736, "classes": 101},
    templates=(
        "a photo of a {}.",
        "a painting of a {}.",
        "a plastic {}.",
        "a sculpture of a {}.",
        "a sketch of a {}.",
        "a tattoo of a {}.",
        "a toy {}.",
        "a rendition of a {}.",
        "a embroidered {}.",
        "a cartoon {}.",
        "a {} in a video game.",
        "a plushie {}.",
        "a origami {}.",
        "art of a {}.",
        "graffiti of a {}.",
        "a drawing of a {}.",
        "a doodle of a {}.",
        "a photo of the {}.",
        "a painting of the {}.",
        "the plastic {}.",
        "a sculpture of the {}.",
        "a sketch of the {}.",
        "a tattoo of the {}.",
        "the toy {}.",
        "a rendition of the {}.",
        "the embroidered {}.",
        "the cartoon {}.",
        "the {} in a video game.",
        "the plushie {}.",
        "the origami {}.",
        "art of the {}.",
        "graffiti of the {}.",
        "a drawing of the {}.",
        "a doodle of the {}.",
    ),
    class_names=(
        "off-center face", "centered face", "leopard", "motorbike", "accordion", "airplane", "anchor", "ant",
        "barrel", "bass", "beaver", "binocular", "bonsai", "brain", "brontosaurus", "buddha", "butterfly", "camera",
        "cannon", "side of a car", "ceiling fan", "cellphone", "chair", "chandelier", "body of a cougar cat",
        "face of a cougar cat", "crab", "crayfish", "crocodile", "head of a  crocodile", "cup", "dalmatian",
        "dollar bill", "dolphin", "dragonfly", "electric guitar", "elephant", "emu", "euphonium", "ewer", "ferry",
        "flamingo", "head of a flamingo", "garfield", "gerenuk", "gramophone", "grand piano", "hawksbill",
        "headphone", "hedgehog", "helicopter", "ibis", "inline skate", "joshua tree", "kangaroo", "ketch", "lamp",
        "laptop", "llama", "lobster", "lotus", "mandolin", "mayfly", "menorah", "metronome", "minaret", "nautilus",
        "octopus", "okapi", "pagoda", "panda", "pigeon", "pizza", "platypus", "pyramid", "revolver", "rhino",
        "rooster", "saxophone", "schooner", "scissors", "scorpion", "sea horse", "snoopy (cartoon beagle)",
        "soccer ball", "stapler", "starfish", "stegosaurus", "stop sign", "strawberry", "sunflower", "tick",
        "trilobite", "umbrella", "watch", "water lilly", "wheelchair", "wild cat", "windsor chair", "wrench",
        "yin and yang symbol",
    ),
)  # fmt: skip


def read(root: Path) -> tuple[Part, Part]:
    """Returns two parts of all images: 80 % for training, the rest for testing, drawn at random with a fixed seed.

    Each `Part` has images with their labels, class names and files. The images are those that torchvision lists, by
    class folder and then by number, without the background class; whether their files exist is checked later.

    Args:
        root: the data root, which contains the folder `caltech101`.
    """
    dataset = Caltech101(root)
    folders = [Path(dataset.root, "101_ObjectCategories", category) for category in dataset.categories]
    paths = [folders[y] / f"image_{number:04d}.jpg" for y, number in zip(dataset.y, dataset.index, strict=True)]
    return random_halves(Part(dataset, tuple(dataset.categories), dataset.y, tuple(paths)))


download = partial(Caltech101, download=True)
