"""Any folder of images: PATH/<domain>/{train,test}/<class>/<image>, written folder:PATH.

Each domain is a task, in alphabetical order. Class names are the class folders' names, underscores turned into spaces; the
one template is "a photo of a {}.". Hidden images, files that are no images by their ending, folders within class folders,
folders beside train and test, and images beside folders are passed over, and a line says how many of which kind.

A domain without `test` (PATH/<domain>/train/<class>/<image> or PATH/<domain>/<class>/<image>) is split here: of each class's
images, sorted by name, 80 % (rounded down) are drawn for training by NumPy's `default_rng`, seeded with the SHA-256 of
"42", the domain folder's name and the class folder's name, joined by NUL characters and read as a big-endian integer. The
rest is for testing. A change in one class draws no other class anew.

PATH/stream.yaml may say more. Every key may be left out, domains and classes are named by their folders, and every value is
text, so that `007` and `no` need no quotes:

    order: [sketches, photos]              # the default order: every domain once
    orders:                                # others, for --order reverse; they may leave domains out
      reverse: [photos, sketches]
    templates: ["a photo of a {}.", "an image of a {}."]  # training uses the first, evaluation the mean of all
    protocol: our two domains, split by hand
    licence: CC BY 4.0                     # licence, citation and origin go into the record of the run
    citation: Doe et al., 2024
    origin: https://example.org/animals
    domains:
      sketches:
        name: Sketches                     # in tables and for --order
        templates: ["a sketch of a {}."]   # instead of those above; so with licence, citation and origin
        class_names: {n01: tree frog}      # instead of the folder's name
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.config.errors import UserError
from benchmarks.images.folders import ENDINGS, beside, folders, of_files, others, pictures, say_passed_over, shown
from benchmarks.images.sets import Images, Split
from benchmarks.streams.base import DATA_ROOT, Plan, Source, Task
from benchmarks.streams.folder.notes import FILE, StreamNotes, check_known, read_notes, task_orders


SEED = 42
GIVEN = "by the folders train and test"
DRAWN = (
    f"of each class 80 % (rounded down) drawn for training by numpy's default_rng, seeded with sha256({SEED}, domain folder, "
    "class folder), the rest for testing"
)


@dataclass(frozen=True)
class _Half:
    """The images of one folder with class folders: its path, C class names, C lists of files."""

    place: Path
    classes: list[str]
    files: list[list[Path]]

    def labels(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.files), dtype=np.int64), [len(each) for each in self.files])


def _half(place: Path, classes: list[str], over: list[Path]) -> _Half:
    """Lists the images; what else lies in the class folders and beside them is appended to `over`."""
    there = folders(place)
    over += beside(place)
    files = [pictures(place / name) if name in there else [] for name in classes]
    over += [other for name in classes if name in there for other in others(place / name)]
    for name, found in zip(classes, files, strict=True):
        if not found:
            raise UserError(f"{place / name}: no image in this class (known endings: {', '.join(ENDINGS)})")
    return _Half(place, classes, files)


def _images(root: Path, name: str, half: _Half) -> Images:
    return of_files(name, [file for found in half.files for file in found], root)


def _classes(place: Path) -> list[str]:
    found = folders(place)
    if not found:
        raise UserError(f"{place}: no class folders in it; expected {place.name}/<class>/<image>")
    return found


def _given(root: Path, domain: str, over: list[Path]) -> tuple[list[str], Split, Split]:
    """Returns classes and both splits of a domain that has the folders train and test."""
    train, test = root / domain / "train", root / domain / "test"
    classes = _classes(train)
    if strange := [name for name in folders(test) if name not in classes]:
        raise UserError(f'{test}: class "{strange[0]}" has no folder in train')
    splits = []
    for place in (train, test):
        half = _half(place, classes, over)
        images = _images(root, f"{domain}-{place.name}", half)
        splits.append(Split(images, np.arange(images.count), half.labels()))
    return classes, splits[0], splits[1]


def _training(domain: str, class_folder: str, count: int) -> np.ndarray:
    """Returns which images of a class are drawn for training, (count,) bool."""
    seed = hashlib.sha256("\0".join((str(SEED), domain, class_folder)).encode()).digest()
    drawn = np.zeros(count, dtype=bool)
    drawn[np.random.default_rng(int.from_bytes(seed, "big")).permutation(count)[: count * 8 // 10]] = True
    return drawn


def _drawn(root: Path, domain: str, place: Path, over: list[Path]) -> tuple[list[str], Split, Split]:
    """Returns classes and both splits of a domain whose class folders are all in one folder."""
    half = _half(place, _classes(place), over)
    for name, found in zip(half.classes, half.files, strict=True):
        if len(found) == 1:
            raise UserError(f"{place / name}: one image, which can't be both for training and for testing; add another")
    images, labels = _images(root, domain, half), half.labels()
    training = np.concatenate(
        [_training(domain, name, len(found)) for name, found in zip(half.classes, half.files, strict=True)]
    )
    train, test = (np.flatnonzero(which) for which in (training, ~training))
    return half.classes, Split(images, train, labels[train]), Split(images, test, labels[test])


def _splits(root: Path, domain: str, over: list[Path]) -> tuple[list[str], Split, Split, str]:
    """Returns the class folders, both splits, and a description of how they were made.

    Raises:
        UserError: the domain has another layout; the message names the folder.
    """
    path = root / domain
    found = folders(path)
    # A folder of pictures alone is a class that is called so, of trains for instance.
    halves = {
        name for name in ("train", "test") if name in found and (folders(path / name) or not pictures(path / name))
    }
    if halves:
        over += beside(path)
    if halves == {"train", "test"}:
        over += [path / name for name in found if name not in halves]
        return *_given(root, domain, over), GIVEN
    if "test" in halves:
        raise UserError(f"{path}: has test but no train; a domain has both, or train alone, or its class folders")
    if not halves:
        return *_drawn(root, domain, path, over), DRAWN
    if more := [name for name in found if name != "train"]:
        raise UserError(f"{path}: {more[0]} beside train; call it test if it holds the test images, or move it away")
    return *_drawn(root, domain, path / "train", over), DRAWN


def _class_names(root: Path, domain: str, classes: list[str], notes: StreamNotes) -> tuple[str, ...]:
    given = notes.of(domain).class_names
    check_known(f"{root / FILE}: domains.{domain}.class_names", "class folder", given, classes)
    names: dict[str, str] = {}
    for folder in classes:
        name = given.get(folder, folder.replace("_", " "))
        if name in names:
            raise UserError(
                f'{root / domain}: class folders {names[name]} and {folder} are both called "{name}"; rename one'
            )
        names[name] = folder
    return tuple(names)


def _task(root: Path, notes: StreamNotes, domain: str, over: list[Path]) -> Task:
    classes, train, test, split = _splits(root, domain, over)
    own = notes.of(domain)
    return Task(
        name=notes.shown(domain),
        class_names=_class_names(root, domain, classes, notes),
        templates=tuple(own.templates or notes.templates),
        train=train,
        test=test,
        source=Source(
            dataset=domain,
            origin=own.origin or notes.origin,
            split=split,
            licence=own.licence or notes.licence,
            citation=own.citation or notes.citation,
        ),
    )


def _domains(root: Path) -> list[str]:
    if not os.path.isdir(root):
        raise UserError(f"--stream folder:{shown(root)}: no such folder")
    found = folders(root)
    if {"train", "test"} & set(found):
        raise UserError(f"--stream folder:{root}: this is one domain; name the folder that holds the domains")
    if not found:
        raise UserError(f"--stream folder:{root}: no domain folders in it; expected <domain>/train/<class>/<image>")
    return found


def _notes(root: Path, domains: list[str]) -> StreamNotes:
    if os.path.lexists(root / FILE):
        return read_notes(root / FILE, domains)
    if os.path.lexists(root / "stream.yml"):
        raise UserError(f"{root / 'stream.yml'}: would not be read; call it {FILE}")
    return StreamNotes()


def _open(root: Path, notes: StreamNotes, domains: list[str]) -> tuple[Task, ...]:
    """Returns the tasks; a line on stderr says what of the folder is not used."""
    over = beside(root)
    tasks = tuple(_task(root, notes, domain, over) for domain in domains)
    say_passed_over(root, over)
    return tasks


def build(argument: str, data_root: Path = Path(DATA_ROOT)) -> Plan:
    """Returns a folder of the user's images as a stream, with one task for each domain; no images are read yet.

    Of a domain without `test`, 80 % of each class's images are drawn for training, the rest is for testing.

    Args:
        argument: the path of the folder, with images in `DOMAIN/train/CLASS/` and `DOMAIN/test/CLASS/`, or in
            `DOMAIN/CLASS/`. A file `stream.yaml` in it may name orders, prompts and classes.
        data_root: not used.

    Raises:
        UserError: the path is missing or empty, or its stream.yaml is wrong. The plan's `open` raises it if a domain
            does not have the expected layout.
    """
    if not argument:
        raise UserError("--stream folder: needs a path, as in folder:PATH")
    root = Path(os.path.expanduser(argument))  # the shell expands no ~ after a colon
    domains = _domains(root)
    notes = _notes(root, domains)
    orders = task_orders(notes, domains)
    folder_of = {notes.shown(domain): domain for domain in domains}
    return Plan(
        names=orders["default"],
        orders=orders,
        protocol=notes.protocol,
        open=lambda chosen: _open(root, notes, [folder_of[name] for name in chosen]),
    )
