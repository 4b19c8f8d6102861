"""Fetching a data set as torchvision does, but so that it appears below the data root whole or not at all."""

import contextlib
import shutil
import textwrap
from pathlib import Path

from benchmarks.config.errors import UserError
from benchmarks.datasets.about import info, module


ARCHIVES = (".tar.gz", ".tgz", ".zip", ".gz", ".mat")


def download(name: str, root: Path) -> None:
    """Fetches into a folder below the data root, `.download-NAME`, and moves the finished data set to its place.

    After an interruption an archive that was fetched whole is not fetched again, if torchvision has its checksum: without one
    a piece of an archive would pass for the whole.

    Raises:
        UserError: torchvision can't fetch it, the link is dead, there is no network, or something already lies in its place.
    """
    about = info(name)
    place, staging = root / about.folder, root / f".download-{name}"
    if not about.download:
        raise UserError(f"{name}: torchvision cannot fetch it; {about.by_hand}")
    if place.exists():
        raise UserError(f"{name}: {place} is there but not complete; move it away first, then it is fetched anew")
    fetch = module(name).download
    try:
        _clear(staging, keep=about.checksum)
        fetch(staging)
        (staging / about.folder).rename(place)
        shutil.rmtree(staging)
    except Exception as error:  # whatever the network and half an archive bring up
        reason = textwrap.shorten(str(error), 200) or type(error).__name__
        raise UserError(f"{name}: cannot be fetched from {about.archive} ({reason}); {about.by_hand}") from error


def _clear(staging: Path, *, keep: bool) -> None:
    """Leaves of an interrupted attempt only its archives, or nothing: what was extracted may be half of it."""
    staging.mkdir(parents=True, exist_ok=True)
    for path in sorted(staging.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):  # not empty: an archive lies in it
                path.rmdir()
        elif not (keep and path.name.endswith(ARCHIVES)):
            path.unlink()
