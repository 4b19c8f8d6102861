"""Eleven small domains of rendered 32x32 images, MTIL in miniature; needs no data; orders I (default) and II.

Each image is rendered when it is first read, from its own seed, so it is the same in every run; then it is cached. One
domain, `scans`, is real: scikit-learn's scanned digits.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.images.sets import Images, Split
from benchmarks.micro.names import DIGITS, FAMILIES
from benchmarks.micro.render import SIDE, render, sample
from benchmarks.micro.seeds import generator
from benchmarks.micro.shift import PRETRAINING, SERIF, TYPEWRITER, Shift
from benchmarks.streams.base import DATA_ROOT, Plan, Source, Task, refuse_argument


DATA_SEED = 2026
TRAIN, TEST = 480, 300  # approximate number of images of a domain, the same for each class

# Order II starts with other domains than order I, and separates similar ones.
ORDER_II = (
    "shapes", "clocks", "scans", "colours", "symbols", "arrows", "textures", "digits", "positions", "letters", "counting",
)  # fmt: skip

DRAWN = Source(
    dataset="micro",
    origin="drawn by benchmarks.micro",
    split="every picture has a seed of its own; training and testing share none",
    licence="Apache-2.0",
)
SCANS = Source(
    dataset="digits",
    origin="scikit-learn's load_digits, after the UCI optical recognition of handwritten digits",
    split="of each digit the first scans for training, the last for testing",
    licence="CC BY 4.0",
    citation="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998",
)


@dataclass(frozen=True)
class Domain:
    """A domain of images of the stream `micro`, such as `clocks`: its prompts, and how its images are rendered.

    Attributes:
        templates: prompts with one `{}`; training uses the first.
        shift: the random variations of its images (rotation, blur, noise and so on), by which they differ from those
            with which the micro CLIP was pretrained. The default has the variations of pretraining.
    """

    templates: tuple[str, ...]
    shift: Shift = field(default=PRETRAINING)


def _shifted(**changes: object) -> Shift:
    return replace(PRETRAINING, **changes)  # type: ignore[arg-type]


DOMAINS = {
    "arrows": Domain(
        ("a picture of an arrow pointing {}.", "an arrow that points {}.", "{}."),
        _shifted(rotation=(8.0, 32.0), outline=0.6, noise=(5, 25)),
    ),
    "clocks": Domain(
        ("a picture of a clock showing {}.", "a clock at {}.", "the time is {}."),
        _shifted(rotation=(8.0, 18.0), clutter=(0, 3), blur=(0.3, 0.8)),
    ),
    "colours": Domain(
        ("a picture of something {}.", "a {} thing.", "the colour {}."),
        _shifted(cast=(1.0, 0.7, 0.45), tint=35.0, shade=(0.2, 0.6), clutter=(0, 4)),
    ),
    "counting": Domain(
        ("a picture of {} things.", "{} objects.", "a group of {}."),
        _shifted(things="letters", spread=0.27, noise=(5, 25)),
    ),
    "digits": Domain(
        ("a picture of the digit {}.", "the number {}.", "the digit {}."),
        _shifted(rotation=(-45.0, -20.0), clutter=(0, 3), fonts=SERIF, noise=(5, 25)),
    ),
    "letters": Domain(
        ("a picture of the letter {}.", "the letter {}.", "the capital letter {}."),
        _shifted(rotation=(6.0, 22.0), fonts=SERIF, noise=(5, 25)),
    ),
    "positions": Domain(
        ("a picture of something at the {}.", "a thing in the {}.", "the {}."),
        _shifted(things="digits", spread=0.2, outline=0.6),
    ),
    "scans": Domain(
        ("a picture of the handwritten digit {}.", "the digit {}.", "the number {}."),
    ),
    "shapes": Domain(
        ("a picture of a {}.", "a {}.", "the shape of a {}."),
        _shifted(rotation=(10.0, 45.0), clutter=(0, 4), outline=0.9, noise=(5, 25)),
    ),
    "symbols": Domain(
        ("a picture of a {}.", "the symbol {}.", "a printed {}."),
        _shifted(rotation=(-45.0, -15.0), clutter=(0, 3), fonts=TYPEWRITER, noise=(5, 25)),
    ),
    "textures": Domain(
        ("a picture of {}.", "a pattern of {}.", "the texture {}."),
        _shifted(rotation=(6.0, 22.0), size=(0.3, 0.7), contrast=90.0, scratches=(1, 4), noise=(10, 40)),
    ),
}


def _draw(name: str, subset: str, labels: np.ndarray, index: int) -> Image.Image:
    """Returns image `index` of a rendered domain."""
    rng = generator(subset, DATA_SEED, list(DOMAINS).index(name), index)
    shift = DOMAINS[name].shift
    return render(sample(name, int(labels[index]), shift, rng), shift, rng)


def _rendered(name: str, subset: str, number: int) -> Split:
    """Returns about `number` images, the same number of each class."""
    classes = len(FAMILIES[name])
    labels = np.tile(np.arange(classes, dtype=np.int64), round(number / classes))
    return _split(f"{name}-{subset}", labels, partial(_draw, name, subset, labels))


def _split(name: str, labels: np.ndarray, read: Callable[[int], Image.Image]) -> Split:
    images = Images(name, len(labels), read, lambda index: f"{name}, picture {index}", fingerprint, drawn=True)
    return Split(images, np.arange(len(labels)), labels)


@cache
def fingerprint() -> str:
    """Returns a text that changes with the images: a digest of the code that renders them, and the packages'
    versions.
    """
    code = [Path(__file__), *sorted((Path(__file__).parent.parent / "micro").glob("*.py"))]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in code)).hexdigest()
    return " ".join([digest, *(f"{package} {version(package)}" for package in ("numpy", "matplotlib", "scikit-learn"))])


@cache
def _scans() -> tuple[np.ndarray, np.ndarray]:
    """Returns scikit-learn's images (1797, 8, 8) uint8 and their labels (1797,) int64."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return (data.images * (255 / 16)).astype(np.uint8), data.target.astype(np.int64)


def _read_scan(rows: np.ndarray, index: int) -> Image.Image:
    scan = Image.fromarray(_scans()[0][rows[index]])
    return scan.resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB")


def _scanned(subset: str, number: int) -> Split:
    """Returns the first scans of each class for training or the last ones for testing, which are far apart in the data
    set.
    """
    each = number // len(DIGITS)
    labels = _scans()[1]
    of_class = [np.flatnonzero(labels == digit) for digit in range(len(DIGITS))]
    rows = np.concatenate([found[:each] if subset == "train" else found[-each:] for found in of_class])
    return _split(f"scans-{subset}", labels[rows], partial(_read_scan, rows))


def _task(name: str) -> Task:
    make: Callable[[str, int], Split] = _scanned if name == "scans" else partial(_rendered, name)
    names = DIGITS if name == "scans" else FAMILIES[name]
    source = SCANS if name == "scans" else DRAWN
    return Task(name, names, DOMAINS[name].templates, make("train", TRAIN), make("test", TEST), source)


def build(argument: str, data_root: Path = Path(DATA_ROOT)) -> Plan:
    """Returns the stream `micro`: eleven small domains of 32x32 images, one task each; nothing is rendered yet.

    Its orders are `I` (alphabetical, the default) and `II`.

    Args:
        argument: the text after the colon of the stream's name; must be empty.
        data_root: not used, since no published data set is read.

    Raises:
        UserError: the argument is not empty.
    """
    refuse_argument("micro", argument)
    return Plan(
        names=tuple(DOMAINS),
        orders={"I": tuple(DOMAINS), "II": ORDER_II},
        protocol="micro: this project's own miniature of MTIL; its figures say nothing about MTIL",
        open=lambda chosen: tuple(_task(name) for name in chosen),
    )
