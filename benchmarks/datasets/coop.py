"""CoOp's splits (arXiv 2109.01134) of the published data sets, which X-TAIL's rows stand on, under RAIL's prompts.

CoOp's guide to its data, `DATASETS.md` in its repository, links a file `split_zhou_<name>.json` for each data set: with
lists `train`, `val` and `test` of `[path of the image, label, class name]`. Each is read where the user has put it.
Aircraft, MNIST and CIFAR100 have no such file: there the published halves are used.
"""

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from benchmarks.config.errors import UserError
from benchmarks.datasets.about import Info, info
from benchmarks.datasets.parts import Listed, Part
from benchmarks.runtime.files import read_json


GUIDE = "github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md"
TEMPLATE = "a photo of a {}."
# RAIL's code (arXiv 2406.18868) has this one template, but puts these words around the class names of two data sets.
AROUND_NAMES = {"EuroSAT": "{} satellite location", "MNIST": 'number: "{}"'}


@dataclass(frozen=True)
class SplitFile:
    """The file with CoOp's split of a data set.

    Attributes:
        name: the file's name.
        images: the folders below the data root that may hold the images: as torchvision extracts them, and as CoOp's
            guide has them where that is another. The paths in the file are relative to it.
        expected: CoOp's numbers of images and classes, by the keys `train`, `test` and `classes`.
    """

    name: str
    images: tuple[str, ...]
    expected: dict[str, int]

    @property
    def how(self) -> str:
        """Where to get the file and where to put it, for messages."""
        return f"put {self.name} ({GUIDE} links it) into DATA_ROOT/{Path(self.images[0]).parts[0]}"

    def find(self, root: Path) -> tuple[str, Path | None]:
        """Returns the folder of the images, one of `images`, and the file, which lies in it or in a folder above it.

        Of several folders that are there it is the first that has the file. The file is None if none has it.

        Args:
            root: the data root, the folder of all published data sets.
        """
        there = [(images, self._beside(root, images)) for images in self.images if (root / images).is_dir()]
        return next((each for each in there if each[1]), (there or [(self.images[0], None)])[0])

    def _beside(self, root: Path, images: str) -> Path | None:
        folders = [Path(images), *Path(images).parents][:-1]  # the last is the data root itself
        return next((file for folder in folders if (file := root / folder / self.name).is_file()), None)


def _counts(train: int, test: int, classes: int) -> dict[str, int]:
    return {"train": train, "test": test, "classes": classes}


FILES = {
    "Caltech101": SplitFile(
        "split_zhou_Caltech101.json",
        ("caltech101/101_ObjectCategories", "caltech-101/101_ObjectCategories"),
        _counts(4128, 2465, 100),
    ),
    "DTD": SplitFile("split_zhou_DescribableTextures.json", ("dtd/dtd/images", "dtd/images"), _counts(2820, 1692, 47)),
    "EuroSAT": SplitFile("split_zhou_EuroSAT.json", ("eurosat/2750",), _counts(13500, 8100, 10)),
    "Flowers": SplitFile(
        "split_zhou_OxfordFlowers.json", ("flowers-102/jpg", "oxford_flowers/jpg"), _counts(4093, 2463, 102)
    ),
    "Food": SplitFile("split_zhou_Food101.json", ("food-101/images",), _counts(50500, 30300, 101)),
    "OxfordPet": SplitFile(
        "split_zhou_OxfordPets.json", ("oxford-iiit-pet/images", "oxford_pets/images"), _counts(2944, 3669, 37)
    ),
    "StanfordCars": SplitFile("split_zhou_StanfordCars.json", ("stanford_cars",), _counts(6509, 8041, 196)),
    "SUN397": SplitFile("split_zhou_SUN397.json", ("SUN397", "sun397/SUN397"), _counts(15880, 19850, 397)),
}


def place(name: str, root: Path) -> Path:
    """Returns the folder of the data root in which a data set and its split file lie, or would lie if they were there.

    Args:
        name: of the data set, as in `Info.name`.
        root: the data root.
    """
    if name not in FILES:
        return root / info(name).folder
    images, _ = FILES[name].find(root)
    return root / Path(images).parts[0]


def split_files(names: list[str], root: Path) -> list[Path]:
    """Returns the split files that are there, of those data sets that have one.

    Args:
        names: of the data sets, as in `Info.name`.
        root: the data root.
    """
    found = [FILES[name].find(root)[1] for name in names if name in FILES]
    return [file for file in found if file]


def facts(about: Info) -> Info:
    """Returns the facts about a data set with CoOp's split, class names and counts, and RAIL's one template.

    Args:
        about: the facts with ZSCL's.
    """
    about = replace(about, templates=(TEMPLATE.format(AROUND_NAMES.get(about.name, "{}")),))
    if about.name not in FILES:
        return about
    file = FILES[about.name]
    return replace(
        about,
        split=f"CoOp's: train in {file.name} for training, test for testing (val unused)",
        expected=file.expected,
        class_names=(),
        by_hand=f"{about.by_hand}; and {file.how}",
    )


def read(name: str, root: Path) -> tuple[Part, Part]:
    """Returns two parts: the images that the split file lists under `train`, and those under `test`.

    Each `Part` has images with their labels, class names as the file has them, and files, whose existence is checked
    later.

    Args:
        name: of the data set, as in `Info.name`; one of `FILES`.
        root: the data root, which contains the data set's folder.

    Raises:
        UserError: the images' folder or the split file is missing; the file is damaged, names an image outside that
            folder, or gives a label two names.
    """
    known = FILES[name]
    images, file = known.find(root)
    if not (root / images).is_dir():
        raise UserError(f"{name}: {root / images}: no such folder; {facts(info(name)).how}")
    if file is None:
        raise UserError(f"{name}: no {known.name} in {place(name, root)}; {known.how}")
    try:
        lists = _lists(read_json(file))
        classes = _classes([*lists["train"], *lists["test"]])
    except UserError as error:
        raise UserError(f"{name}: {error}; {known.how}") from error
    except ValueError as error:
        raise UserError(f"{name}: {file}: {error}; {known.how}") from error
    train, test = (_part(lists[half], classes, root / images) for half in ("train", "test"))
    return train, test


Entry = tuple[str, int, str]  # path of the image, label, class name


def _lists(found: Any) -> dict[str, list[Entry]]:
    """Returns the checked entries of both lists; raises ValueError for anything else."""
    if not isinstance(found, dict):
        raise ValueError('expected {"train": [...], "val": [...], "test": [...]}')
    lists = {}
    for half in ("train", "test"):
        if not isinstance(found.get(half), list):
            raise ValueError(f'no list "{half}"')
        lists[half] = [_entry(each, f"entry {number} of {half}") for number, each in enumerate(found[half], start=1)]
    return lists


def _entry(found: Any, where: str) -> Entry:
    match found:
        case [str(path), int(label), str(name)] if label >= 0 and not isinstance(label, bool) and name.isprintable():
            if not _is_inside(path):
                raise ValueError(f"{where}: {path!r:.80} is no path below the images' folder")
            return path, label, name
    raise ValueError(f"{where}: expected [path, label, class name], got {found!r:.80}")


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and path.isprintable() and not path.startswith("/") and ".." not in parts


def _classes(entries: list[Entry]) -> tuple[str, ...]:
    """Returns the class names in label order."""
    names: dict[int, str] = {}
    for _, label, name in entries:
        if names.setdefault(label, name) != name:
            raise ValueError(f'label {label} is called "{names[label]:.80}" and "{name:.80}"')
    if names and max(names) >= len(names):
        raise ValueError(f"{len(names)} labels that go up to {max(names)}; expected 0 to {len(names) - 1}")
    return tuple(names[label] for label in range(len(names)))


def _part(entries: list[Entry], classes: tuple[str, ...], folder: Path) -> Part:
    listed = Listed(classes, [label for _, label, _ in entries], [folder / path for path, _, _ in entries])
    return Part.of_files(listed, listed.labels, listed.paths)
