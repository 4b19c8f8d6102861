"""Many runs in one file: `nusa.runs.tar.xz` stands for the run folders in a folder `nusa`.

Runs of one method repeat each other's names and settings; compressed together they take a fifth of what they take in a file
each. `benchmarks.runs.pack --together` writes such files.
"""

import io
import lzma
import tarfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath

from benchmarks.config.errors import UserError


SHELF = ".runs.tar.xz"
LARGEST = 2**28  # bytes of all files of a shelf together
CONFIG = "config.yaml"  # which makes a folder a run folder
Contents = dict[str, dict[str, bytes]]


def of(folder: Path) -> Path:
    """Returns the path of the shelf that would hold the run folders of a folder, whether it exists or not.

    Args:
        folder: the folder above run folders.
    """
    return Path(f"{folder}{SHELF}")


def runs(path: Path) -> dict[str, dict[str, bytes]]:
    """Returns the files of each run of a shelf by their names, by the run folder's name.

    Args:
        path: the shelf.

    Raises:
        UserError: it is missing, cannot be read, is damaged, or holds more than 256 MB.
    """
    try:
        about = path.stat()
        return _read(path, about.st_mtime_ns, about.st_size)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def has(path: Path, run: str) -> bool:
    """Returns whether a shelf exists and holds a run; whoever reads a run from a damaged one gets an error.

    Args:
        path: the shelf.
        run: the run folder's name.
    """
    try:
        return path.is_file() and run in runs(path)
    except UserError:
        return True


def packed(contents: Mapping[str, Mapping[str, bytes]]) -> bytes:
    """Returns the bytes of a shelf; equal runs give equal bytes.

    Args:
        contents: the files of each run by their names, by the run folder's name.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        # By the file's name first: equal kinds of files lie beside each other, and compress better.
        for name, run in sorted((name, run) for run, files in contents.items() for name in files):
            entry = tarfile.TarInfo(f"{run}/{name}")
            entry.size, entry.mode = len(contents[run][name]), 0o644
            archive.addfile(entry, io.BytesIO(contents[run][name]))
    return lzma.compress(out.getvalue(), preset=9 | lzma.PRESET_EXTREME)


@lru_cache(maxsize=32)
def _read(path: Path, changed: int, size: int) -> Contents:
    """Returns the content of a shelf, which is read again when it has changed."""
    found: Contents = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(_decompressed(path)), mode="r:") as archive:
            for entry in archive:
                parts = PurePosixPath(entry.name).parts
                opened = archive.extractfile(entry) if entry.isreg() else None
                if opened is None or len(parts) != 2 or ".." in parts or "\\" in entry.name or entry.name[0] == "/":
                    raise UserError(f"{path}: damaged, {entry.name!r} is no file of a run")
                found.setdefault(parts[0], {})[parts[1]] = opened.read()
    except (lzma.LZMAError, tarfile.TarError, EOFError) as error:
        raise UserError(f"{path}: damaged, not runs packed together") from error
    return {run: files for run, files in found.items() if CONFIG in files}


def _decompressed(path: Path) -> bytes:
    """Returns the bytes of the tar file within, at most the limit."""
    decompressor = lzma.LZMADecompressor(memlimit=2**30)
    found = decompressor.decompress(path.read_bytes(), max_length=LARGEST + 1)
    if len(found) > LARGEST:
        raise UserError(f"{path}: more than {LARGEST} bytes of runs")
    if not decompressor.eof:
        raise EOFError
    return found
