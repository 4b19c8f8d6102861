"""Downloads a data set with torchvision, so that it appears in the data root completely or not at all."""

import contextlib
import shutil
import textwrap
from pathlib import Path

from benchmarks.config.errors import UserError
from benchmarks.datasets.about import info, module


ARCHIVES = (".tar.gz", ".tgz", ".zip", ".gz", ".mat")


def download(name: str, root: Path) -> None:
    """Downloads a data set with torchvision and extracts it, so that its folder appears complete or not at all.

    It is downloaded into the folder `.download-NAME` of the data root, and moved to its place, the folder `Info.folder`,
    at the end. After an interruption, an archive that torchvision can verify by a checksum is not downloaded again if it
    is complete.

    Args:
        name: of the data set, as in `Info.name`, for instance `CIFAR100`.
        root: the data root, the folder of all published data sets.

    Raises:
        UserError: torchvision cannot download it, the link is dead, there is no network, or its place exists already.
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
    except Exception as error:  # network errors and incomplete archives raise many kinds
        reason = textwrap.shorten(str(error), 200) or type(error).__name__
        raise UserError(f"{name}: cannot be fetched from {about.archive} ({reason}); {about.by_hand}") from error


def _clear(staging: Path, *, keep: bool) -> None:
    """Deletes the remains of an interrupted download except its archives (if `keep`): extracted files may be
    incomplete.
    """
    staging.mkdir(parents=True, exist_ok=True)
    for path in sorted(staging.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):  # not empty: an archive lies in it
                path.rmdir()
        elif not (keep and path.name.endswith(ARCHIVES)):
            path.unlink()
