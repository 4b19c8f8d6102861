"""ImageNet, zero-shot: top-1 among its 1000 classes, with open_clip's names for them and OpenAI's 80 templates."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import open_clip

from benchmarks.config.errors import UserError
from benchmarks.experiment.probes.base import Probe, folder_of, top1
from benchmarks.images.folders import folders, of_files, pictures
from benchmarks.images.sets import Split


CLASSES = 1000
WORDNET = re.compile(r"n\d{8}")
WHAT = "1000 class folders n01440764 ... n15075141 of validation images, 50 in each"
PROTOCOL = (
    "ImageNet-1k's validation images ({} in each class), top-1 among 1000 classes; open_clip's class names and OpenAI's 80 "
    "templates, as in Radford et al., 2021"
)


def build(argument: str) -> list[Probe]:
    """Returns the probe of a folder with ImageNet's 1000 class folders, or with a folder `val` that has them.

    Args:
        argument: the folder. A class folder is named by its WordNet number, and their order is that of the classes.

    Raises:
        UserError: the folder is missing or incomplete: there are not 1000 class folders, or not as many images in each.
    """
    place = folder_of("imagenet", argument, WHAT)
    place = place / "val" if (place / "val").is_dir() else place
    names = [name for name in folders(place) if WORDNET.fullmatch(name)]
    if len(names) != CLASSES:
        raise UserError(f"--probe imagenet:{argument}: {len(names)} class folders in {place}; expected {WHAT}")
    files = [pictures(place / name) for name in names]
    _check_equal(argument, names, [len(found) for found in files])
    images = of_files("imagenet-val", [file for found in files for file in found], Path(place))
    labels = np.repeat(np.arange(CLASSES), len(files[0]))
    templates = tuple(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)
    split = Split(images, np.arange(images.count), labels)
    texts = tuple(open_clip.IMAGENET_CLASSNAMES)
    return [Probe("imagenet", split, texts, templates, top1(labels), PROTOCOL.format(len(files[0])))]


def _check_equal(argument: str, names: list[str], counts: list[int]) -> None:
    (usual, _), *others = Counter(counts).most_common()
    if not usual or others:
        place = next(index for index, count in enumerate(counts) if count != usual or not usual)
        raise UserError(
            f"--probe imagenet:{argument}: {names[place]} has {counts[place]} images, most classes {usual}; the validation "
            "set has 50 in each"
        )
