"""The layouts of the twelve data sets on disk, as their archives extract them, with a few tiny images of each class.

An image's colour tells its label (`label_of`). Data sets with published halves have two training images and one test image of
each class; those that are split at random have as many of each class as it takes for both halves to have some.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import scipy.io
import yaml
from PIL import Image

from benchmarks.datasets import coop
from benchmarks.datasets.about import infos
from benchmarks.datasets.tinyimagenet import CLASSES as TINY_IMAGENET
from tests.layout_names import AWKWARD, CALTECH101, DTD, EUROSAT, PETS


STEP = 14  # between the levels of a colour channel, far more than JPEG blurs
LEVELS = 18
EACH = {"train": 2, "test": 1}  # images of a class, where halves are published


def colour(label: int) -> tuple[int, int, int]:
    return STEP * (label % LEVELS), STEP * (label // LEVELS % LEVELS), STEP * (label // LEVELS**2)


def label_of(image: Image.Image) -> int:
    """The label that an image was drawn for. Grey ones have it as their level."""
    pixel = np.asarray(image)[0, 0]
    if pixel.ndim == 0:
        return round(int(pixel) / STEP)
    return sum(round(int(level) / STEP) * LEVELS**place for place, level in enumerate(pixel))


@cache
def jpeg(label: int) -> bytes:
    file = BytesIO()
    Image.new("RGB", (12, 8), colour(label)).save(file, "JPEG", quality=95)
    return file.getvalue()


def _write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def _halves(classes: int) -> Iterator[tuple[str, int, int]]:
    """Half, label and number of each image; the images of a class have different numbers in both halves."""
    for half in ("train", "test"):
        for label in range(classes):
            for number in range(EACH[half]):
                yield half, label, number + (EACH["train"] if half == "test" else 0)


@cache
def _sizes(classes: int) -> tuple[int, ...]:
    """Images of each class so that the random split of all leaves each class at least two for training and one for testing."""
    import torch
    from torch.utils.data import Dataset, random_split

    count = classes * 7
    train = int(0.8 * count)
    halves = random_split(cast("Dataset[int]", range(count)), [train, count - train], torch.Generator().manual_seed(42))
    testing = set(halves[1].indices)
    sizes: list[int] = []
    start = 0
    for row in range(count):
        tests = sum(place in testing for place in range(start, row + 1))
        if len(sizes) < classes - 1 and tests and row + 1 - start - tests >= 2:
            sizes.append(row + 1 - start)
            start = row + 1
    assert len(sizes) == classes - 1 and count - start >= 3
    return (*sizes, count - start)


def _made_up(name: str, count: int) -> list[str]:
    """Class names, the awkward ones of this data set first."""
    return [*AWKWARD[name], *(f"{name[0].lower()}_{number:03}" for number in range(count - len(AWKWARD[name])))]


def _aircraft(root: Path) -> None:
    data, classes = root / "fgvc-aircraft-2013b" / "data", _made_up("Aircraft", 100)
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for half, label, number in _halves(100):
        image = f"{label * 10 + number:07}"
        _write(data / "images" / f"{image}.jpg", jpeg(label))
        lines[half].append(f"{image} {classes[label]}\n")
    _write(data / "variants.txt", "".join(f"{name}\n" for name in classes))
    for half, each in lines.items():
        _write(data / f"images_variant_{half}.txt", "".join(each))


def _caltech101(root: Path) -> None:
    folder = root / "caltech101" / "101_ObjectCategories"
    for label, (name, size) in enumerate(zip(sorted(CALTECH101), _sizes(101), strict=True)):
        for number in range(1, size + 1):
            _write(folder / name / f"image_{number:04}.jpg", jpeg(label))
    _write(folder / "BACKGROUND_Google" / "image_0001.jpg", jpeg(0))
    _write(folder / "BACKGROUND_Google" / "tmp", "")


def _text(text: bytes) -> bytes:
    return b"T" + len(text).to_bytes(4, "little") + text


def _int(number: int) -> bytes:
    return b"J" + number.to_bytes(4, "little", signed=True)


def _python2_array(data: np.ndarray) -> bytes:
    """The pickle opcodes of Python 2 and its numpy for a matrix of bytes; ours would write others."""
    shape = _int(data.shape[0]) + _int(data.shape[1]) + b"\x86"
    kind = (
        b"cnumpy\ndtype\n" + _text(b"u1") + b"K\x00K\x01\x87R(K\x03" + _text(b"|") + b"NNN" + 2 * _int(-1) + b"K\x00tb"
    )
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + _text(b"b") + b"\x87R"
    return empty + b"(K\x01" + shape + kind + b"\x89" + _text(data.tobytes()) + b"tb"


def _python2_list(items: list[bytes]) -> bytes:
    return b"](" + b"".join(items) + b"e"


def _python2_dict(items: dict[str, bytes]) -> bytes:
    """A pickle of Python 2, of values that are opcodes."""
    return b"\x80\x02}(" + b"".join(_text(key.encode()) + value for key, value in items.items()) + b"u."


def _cifar100(root: Path) -> None:
    folder = root / "cifar-100-python"
    for half in ("train", "test"):
        labels = [label for each, label, _ in _halves(100) if each == half]
        pixels = np.array([colour(label) for label in labels], dtype=np.uint8).repeat(32 * 32, axis=1)
        fine = _python2_list([_int(label) for label in labels])
        coarse = _python2_list([_int(label // 5) for label in labels])
        names = _python2_list([_text(f"{label}.png".encode()) for label in labels])
        content = {"filenames": names, "fine_labels": fine, "coarse_labels": coarse, "data": _python2_array(pixels)}
        _write(folder / half, _python2_dict(content))
    fine_names = _python2_list([_text(name.encode()) for name in _made_up("CIFAR100", 100)])
    _write(folder / "meta", _python2_dict({"fine_label_names": fine_names, "coarse_label_names": _python2_list([])}))


def _dtd(root: Path) -> None:
    folder = root / "dtd" / "dtd"
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for half, label, number in _halves(47):
        image = f"{DTD[label]}/{DTD[label]}_{number:04}.jpg"
        _write(folder / "images" / image, jpeg(label))
        lines[half].append(f"{image}\n")
    for half, each in lines.items():
        _write(folder / "labels" / f"{half}1.txt", "".join(each))


def _eurosat(root: Path) -> None:
    for label, (name, size) in enumerate(zip(EUROSAT, _sizes(10), strict=True)):
        for number in range(1, size + 1):
            _write(root / "eurosat" / "2750" / name / f"{name}_{number}.jpg", jpeg(label))


def _flowers(root: Path) -> None:
    folder = root / "flowers-102"
    labels: list[int] = []
    ids: dict[str, list[int]] = {"train": [], "test": []}
    for half, label, _ in _halves(102):
        labels.append(label + 1)
        ids[half].append(len(labels))
        _write(folder / "jpg" / f"image_{len(labels):05}.jpg", jpeg(label))
    scipy.io.savemat(folder / "imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)})
    sets = {"trnid": ids["train"], "valid": ids["test"][:2], "tstid": ids["test"]}
    scipy.io.savemat(folder / "setid.mat", {key: np.array([each], dtype=np.uint16) for key, each in sets.items()})


def _food(root: Path) -> None:
    folder, classes = root / "food-101", sorted(_made_up("Food", 101))
    lists: dict[str, dict[str, list[str]]] = {half: {name: [] for name in classes} for half in ("train", "test")}
    for half, label, number in _halves(101):
        image = f"{classes[label]}/{label * 10 + number}"
        _write(folder / "images" / f"{image}.jpg", jpeg(label))
        lists[half][classes[label]].append(image)
    for half, each in lists.items():
        _write(folder / "meta" / f"{half}.json", json.dumps(each))


def _mnist(root: Path) -> None:
    folder = root / "MNIST" / "raw"
    for half, prefix in (("train", "train"), ("test", "t10k")):
        labels = np.array([label for each, label, _ in _halves(10) if each == half], dtype=np.uint8)
        pixels = (STEP * labels).repeat(28 * 28)
        sizes = np.array([2051, len(labels), 28, 28], dtype=">i4").tobytes()
        _write(folder / f"{prefix}-images-idx3-ubyte", sizes + pixels.tobytes())
        sizes = np.array([2049, len(labels)], dtype=">i4").tobytes()
        _write(folder / f"{prefix}-labels-idx1-ubyte", sizes + labels.tobytes())


def _oxford_pet(root: Path) -> None:
    folder = root / "oxford-iiit-pet"
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for half, label, number in _halves(37):
        image = f"{PETS[label]}_{number + 1}"
        _write(folder / "images" / f"{image}.jpg", jpeg(label))
        lines[half].append(f"{image} {label + 1} {1 if PETS[label][0].isupper() else 2} 1\n")
    _write(folder / "annotations" / "trainval.txt", "".join(lines["train"]))
    _write(folder / "annotations" / "test.txt", "".join(lines["test"]))


def _stanford_cars(root: Path) -> None:
    folder = root / "stanford_cars"
    boxes = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]
    kinds = [*((box, object) for box in boxes), ("class", object), ("fname", object)]
    for half, place in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        rows = []
        for number, label in enumerate((label for each, label, _ in _halves(196) if each == half), start=1):
            _write(folder / f"cars_{half}" / f"{number:05}.jpg", jpeg(label))
            rows.append((*(np.uint16(1),) * len(boxes), np.uint8(label + 1), f"{number:05}.jpg"))
        (folder / place).parent.mkdir(exist_ok=True)
        scipy.io.savemat(folder / place, {"annotations": np.array([rows], dtype=kinds)})
    names = np.array([_made_up("StanfordCars", 196)], dtype=object)
    scipy.io.savemat(folder / "devkit" / "cars_meta.mat", {"class_names": names})


def _sun397(root: Path) -> None:
    classes = sorted(_made_up("SUN397", 397), key=lambda name: (name[0], *name.split("/")))
    for label, (name, size) in enumerate(zip(classes, _sizes(397), strict=True)):
        for number in range(size):
            _write(root / "SUN397" / name[0] / name / f"sun_{label:04}{number:04}.jpg", jpeg(label))
    _write(root / "SUN397" / "ClassName.txt", "".join(f"/{name[0]}/{name}\n" for name in classes))


def _tiny_imagenet(root: Path) -> None:
    folder = root / "tiny-imagenet-200"
    ids = list(yaml.safe_load(TINY_IMAGENET.read_text(encoding="utf-8")))
    annotations = []
    for half, label, number in _halves(200):
        if half == "train":
            _write(folder / "train" / ids[label] / "images" / f"{ids[label]}_{number}.JPEG", jpeg(label))
        else:
            _write(folder / "val" / "images" / f"val_{label}.JPEG", jpeg(label))
            annotations.append(f"val_{label}.JPEG\t{ids[label]}\t0\t32\t44\t62\n")
    _write(folder / "val" / "val_annotations.txt", "".join(reversed(annotations)))
    _write(folder / "wnids.txt", "".join(f"{wnid}\n" for wnid in sorted(ids)))  # as mirrors have it
    _write(folder / "words.txt", "".join(f"{wnid}\tanother name\n" for wnid in ids))


WRITERS: dict[str, Callable[[Path], None]] = {
    "Aircraft": _aircraft,
    "Caltech101": _caltech101,
    "CIFAR100": _cifar100,
    "DTD": _dtd,
    "EuroSAT": _eurosat,
    "Flowers": _flowers,
    "Food": _food,
    "MNIST": _mnist,
    "OxfordPet": _oxford_pet,
    "StanfordCars": _stanford_cars,
    "SUN397": _sun397,
    "TinyImageNet": _tiny_imagenet,
}
WHOLE = ("Caltech101", "EuroSAT", "SUN397")  # published whole


def write_layout(name: str, root: Path) -> None:
    """One data set below the data root `root`, which is made where it is missing."""
    WRITERS[name](root)


def write_split_file(name: str, root: Path) -> dict[str, list[list[Any]]]:
    """CoOp's split file of a layout that is there, in the data set's folder; returns its content.

    Its labels run the other way round, and a class is called `kind_NUMBER` by the label that its images were drawn for.
    """
    known = coop.FILES[name]
    images = root / known.images[0]
    kinds: dict[int, list[str]] = {}
    for path in sorted(images.rglob("*.jpg")):
        if not {"BACKGROUND_Google", "Faces_easy"} & {*path.parts}:
            with Image.open(path) as image:
                kinds.setdefault(label_of(image), []).append(path.relative_to(images).as_posix())
    lists: dict[str, list[list[Any]]] = {"train": [], "val": [], "test": []}
    for label, (kind, files) in enumerate(sorted(kinds.items(), reverse=True)):
        for place, file in enumerate(files):
            lists[{0: "test", 3: "val"}.get(place, "train")].append([file, label, f"kind_{kind}"])
    _write(root / Path(known.images[0]).parts[0] / known.name, json.dumps(lists))
    return lists


def coop_counts(name: str) -> dict[str, int]:
    """What the split file of a layout holds, in the terms of `SplitFile.expected`."""
    whole = infos()[name].expected["classes"]
    sizes = list(_sizes(whole)) if name in WHOLE else [3] * whole
    if name == "Caltech101":
        del sizes[1]  # Faces_easy
    return {"train": sum(size - 1 - (size > 3) for size in sizes), "test": len(sizes), "classes": len(sizes)}


def write_all(root: Path) -> None:
    """All twelve."""
    for name in WRITERS:
        write_layout(name, root)


def counts(name: str) -> dict[str, int]:
    """What the layout holds, in the terms of `Info.expected`."""
    classes = infos()[name].expected["classes"]
    if name not in WHOLE:
        return {"train": EACH["train"] * classes, "test": EACH["test"] * classes, "classes": classes}
    count = sum(_sizes(classes))
    return {"train": int(0.8 * count), "test": count - int(0.8 * count), "classes": classes}


def accept_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the layouts pass for the data sets: torchvision's checksums are not asked, and their own counts are expected."""
    for module in ("cifar", "flowers102"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", lambda path, md5: Path(path).is_file())
    for name, info in infos().items():
        monkeypatch.setitem(infos(), name, replace(info, expected=counts(name)))
    for name, file in coop.FILES.items():
        monkeypatch.setitem(coop.FILES, name, replace(file, expected=coop_counts(name)))
