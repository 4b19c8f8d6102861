"""Fetching a data set as torchvision does, but so that it appears below the data root whole or not at all."""

import contextlib
import shutil
import textwrap
from pathlib import Path

from benchmarks.config.errors import UserError
from benchmarks.datasets.about import info


# By data set: torchvision's class, and what it needs to be told. MNIST and the others without a split fetch all they have.
CLASSES: dict[str, tuple[str, dict[str, str]]] = {
    "Aircraft": ("FGVCAircraft", {"split": "train"}),
    "Caltech101": ("Caltech101", {}),
    "CIFAR100": ("CIFAR100", {}),
    "DTD": ("DTD", {}),
    "EuroSAT": ("EuroSAT", {}),
    "Flowers": ("Flowers102", {}),
    "Food": ("Food101", {}),
    "MNIST": ("MNIST", {}),
    "OxfordPet": ("OxfordIIITPet", {}),
    "SUN397": ("SUN397", {}),
}
ARCHIVES = (".tar.gz", ".tgz", ".zip", ".gz", ".mat")
UNCHECKED = ("Aircraft",)  # torchvision knows no checksum of its archive: a piece of one would be taken for the whole


def download(name: str, root: Path) -> None:
    """Fetches into a folder beside, `.download-NAME`, and moves the finished data set to its place.

    An archive that was fetched whole is not fetched again after an interruption.

    Raises:
        UserError: torchvision can't fetch it, the link is dead, there is no network, or something already lies in its place.
    """
    about = info(name)
    place, staging = root / about.folder, root / f".download-{name}"
    if not about.download:
        raise UserError(f"{name}: torchvision cannot fetch it; {about.by_hand}")
    if place.exists():
        raise UserError(f"{name}: {place} is there but not complete; move it away first, then it is fetched anew")
    try:
        _clear(staging, keep=name not in UNCHECKED)
        _fetch(name, staging)
        (staging / about.folder).rename(place)
        shutil.rmtree(staging)
    except Exception as error:  # whatever the network and half an archive bring up
        reason = textwrap.shorten(str(error), 200) or type(error).__name__
        raise UserError(f"{name}: cannot be fetched from {about.archive} ({reason}); {about.by_hand}") from error


def _clear(staging: Path, *, keep: bool) -> None:
    """Leaves of an interrupted attempt only its archives: what was extracted may be half of it."""
    staging.mkdir(parents=True, exist_ok=True)
    for path in sorted(staging.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):  # not empty: an archive lies in it
                path.rmdir()
        elif not (keep and path.name.endswith(ARCHIVES)):
            path.unlink()


def _fetch(name: str, staging: Path) -> None:
    from torchvision import datasets

    kind, options = CLASSES[name]
    getattr(datasets, kind)(staging, download=True, **options)
