"""The image files that a named stream reads, and a digest of them, by which a change is noticed without decoding."""

import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

from benchmarks.config.recipes import innermost
from benchmarks.config.settings import Splits
from benchmarks.datasets import coop
from benchmarks.datasets.about import infos
from benchmarks.images.folders import ARCHIVES, ENDINGS, NO_PICTURES
from benchmarks.runtime.files import checksum, fingerprint


FOLDER = "folder:"  # the beginning of the name of a stream of the user's own folders


def digest(stream: str, datasets: Iterable[str], data_root: Path, splits: Splits = "zscl") -> str | None:
    """Returns a SHA-256 digest, in hexadecimal, of the files that a stream reads; None if it reads none, or some are gone.

    It is computed from the names and sizes of the files, and from their contents if these are 256 MiB at most, else from
    the first MiB of 16 to 31 of them; not from their times. Of a published data set they are the files in its folder, but
    for archives; of a stream of folders the images. Split files are read whole.

    Args:
        stream: the stream's name on the command line.
        datasets: the names of the data sets that its tasks are of, or of the domains of a stream of folders.
        data_root: the folder of the published data sets.
        splits: whose splits of the data sets are read: `zscl` or `coop`.
    """
    stream = innermost(stream)
    own = stream.startswith(FOLDER)
    root = Path(os.path.expanduser(stream.removeprefix(FOLDER))) if own else data_root
    names = sorted(set(datasets))
    if own:
        places = [root / name for name in names]
    else:
        names = [name for name in names if name in infos()]
        places = [coop.place(name, root) if splits == "coop" else root / infos()[name].folder for name in names]
    if not places or not all(place.is_dir() for place in places):
        return None
    try:
        found = fingerprint(root, [file for place in places for file in _below(place, own)], times=False)
        if splits == "zscl":
            return found
        return sha256(f"{found} {checksum(coop.split_files(names, root))}".encode()).hexdigest()
    except OSError:
        return None


def _below(place: Path, images: bool) -> Iterator[Path]:
    """Yields the files in a folder and its subfolders, links to folders included, sorted; only images if so wanted."""

    def refuse(error: OSError) -> None:
        raise error

    seen: set[str] = set()
    for above, folders, names in os.walk(place, onerror=refuse, followlinks=True):
        real = os.path.realpath(above)
        folders[:] = [] if real in seen else sorted(name for name in folders if _counts(name))
        for name in sorted(names) if real not in seen else ():
            lower = name.lower()
            if _counts(name) and (lower.endswith(ENDINGS) if images else not lower.endswith(ARCHIVES)):
                yield Path(above, name)
        seen.add(real)


def _counts(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in NO_PICTURES
