"""Image-text retrieval, zero-shot: R@1 and R@5 both ways, on Karpathy's splits of Flickr30k and COCO or own captions.

DIR holds the images and what describes them, either of

- a json file of Karpathy's, `dataset_flickr30k.json` or `dataset_coco.json`: its images of the split `test`, each with its
  first five captions. They are sought in DIR, in the folder that the file names (`filepath`, COCO's `val2014`), in
  `flickr30k-images`, in `flickr30k_images` and in `images`;
- or `captions.csv`, with the columns `image` (a path below DIR) and `caption`, a row for each caption.
"""

import csv
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from benchmarks.config.bounded import from_json
from benchmarks.config.errors import UserError
from benchmarks.config.terminal import plain, say
from benchmarks.experiment.probes.base import Probe, folder_of, recalls
from benchmarks.images.folders import of_files
from benchmarks.images.sets import Split
from benchmarks.runtime import processes


CAPTIONS, COLUMNS = "captions.csv", {"image", "caption"}
FOLDERS = ("flickr30k-images", "flickr30k_images", "images")
LARGE = 20  # times what other files may be: COCO's has 144 MB
EACH = 5  # captions of an image in Karpathy's splits
WHAT = f"images and dataset_flickr30k.json, dataset_coco.json (Karpathy's splits) or {CAPTIONS}"
KARPATHY = (
    "{}: Karpathy's test split ({} images, {} captions), R@1 and R@5 from images to texts and back; captions without a "
    "template, as LAION's CLIP_benchmark does"
)
OWN = "{}: {} images, {} captions, R@1 and R@5 from images to texts and back; captions without a template"
Captioned = list[tuple[Path, str]]  # an image's path below the folder, and one of its captions


def build(argument: str) -> list[Probe]:
    """Returns the probe of a folder with images and their captions.

    Args:
        argument: the folder.

    Raises:
        UserError: the folder has no captions, or they are damaged or name images that are not there.
    """
    place = folder_of("retrieval", argument, WHAT)
    karpathy = sorted(file for file in place.glob("dataset_*.json") if file.is_file())
    if len(karpathy) + (place / CAPTIONS).is_file() != 1:
        found = f"{len(karpathy)} files dataset_*.json and {'a' if (place / CAPTIONS).is_file() else 'no'} {CAPTIONS}"
        raise UserError(f"--probe retrieval:{argument}: {found} in it; expected {WHAT}, one of them")
    pairs = _karpathy(place, karpathy[0]) if karpathy else _own(place)
    files = list(dict.fromkeys(file for file, _ in pairs))
    number = {file: place for place, file in enumerate(files)}
    name = karpathy[0].stem.removeprefix("dataset_") if karpathy else place.resolve().name
    images = of_files(f"retrieval-{name}", [place / file for file in files], place)
    split = Split(images, np.arange(len(files)), np.arange(len(files)))
    texts, owners = tuple(text for _, text in pairs), np.array([number[file] for file, _ in pairs])
    protocol = (KARPATHY if karpathy else OWN).format(name, len(files), len(texts))
    return [Probe(name, split, texts, (), recalls(np.arange(len(files)), owners), protocol)]


def _karpathy(place: Path, file: Path) -> Captioned:
    try:
        entries: Any = from_json(file.read_text(encoding="utf-8"), LARGE)["images"]
        test = [entry for entry in entries if entry["split"] == "test"]
        described = [
            (str(entry.get("filepath", "")), str(entry["filename"]), [str(each["raw"]) for each in entry["sentences"]])
            for entry in test
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: damaged, or no split of Karpathy's ({type(error).__name__}: {error})") from error
    if not described or not all(texts for _, _, texts in described):
        raise UserError(f"{file}: no test images, or some without a caption")
    pairs = []
    for folder, name, texts in described:
        found = _found(place, [f"{folder}/{name}", name, *(f"{each}/{name}" for each in FOLDERS)], str(file))
        pairs += [(found, text) for text in texts[:EACH]]
    return pairs


def _own(place: Path) -> Captioned:
    file = place / CAPTIONS
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            rows = list(enumerate(reader, start=2))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{file}: not a csv file in UTF-8 ({error})") from error
    if not rows or not COLUMNS.issubset(reader.fieldnames or ()):
        raise UserError(f"{file}: expected the columns image and caption, and a row for each caption")
    pairs = []
    for number, row in rows:
        if not (row["image"] and row["caption"] and row["caption"].strip()):
            raise UserError(f"{file}: row {number}: no image or no caption")
        pairs.append((_found(place, [row["image"]], f"{file}: row {number}"), row["caption"].strip()))
    if len(once := list(dict.fromkeys(pairs))) < len(pairs) and processes.is_first():
        say(f"{file}: {len(pairs) - len(once)} rows stand there before; each image's caption counts once")
    return once


def _found(place: Path, names: list[str], where: str) -> Path:
    """Returns the first of some paths below a folder at which there is a file."""
    for name in names:
        path = PurePosixPath(name.lstrip("/") if name.startswith("/") and len(names) > 1 else name)
        if path.is_absolute() or ".." in path.parts:
            raise UserError(f"{where}: {plain(name)} leads out of {place}; name images below it")
        if (place / path).is_file():
            return Path(path)
    raise UserError(f"{where}: {plain(names[0].lstrip('/'))}: no such image in {place}")
