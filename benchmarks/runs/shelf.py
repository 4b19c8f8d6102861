"""Many runs in one file, called a shelf: `nusa.runs.zip.xz` stands for the run folders in a folder `nusa`.

Runs of one method repeat each other's names, settings and values; compressed together they take half of what they take in a
file each. It is a zip file without compression, compressed by xz; `benchmarks.runs.pack --together` writes it.
"""

import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from benchmarks.config.errors import UserError


SHELF = ".runs.zip.xz"
LARGEST = 2**26  # bytes of all files of a shelf together
KEPT = 4 * LARGEST  # bytes of shelves that a process keeps
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can store; fixed, so that equal files give equal bytes
CONFIG = "config.yaml"  # which makes a folder a run folder
Contents = dict[str, dict[str, bytes]]
# What damaged zip files raise; RuntimeError is of encrypted ones, and of methods and versions that Python does not have.
DAMAGE = (lzma.LZMAError, zlib.error, zipfile.BadZipFile, EOFError, ValueError, OverflowError, RuntimeError)


def of(folder: Path) -> Path:
    """Returns the path of the shelf that would hold the run folders of a folder, whether it exists or not.

    Args:
        folder: the folder above run folders.
    """
    named = folder if folder.name not in ("", "..") else Path(os.path.abspath(folder))
    # A root folder has no name; the path below it never exists.
    return named.with_name(f"{named.name}{SHELF}") if named.name else named / SHELF


def runs(path: Path) -> Contents:
    """Returns the files of each run of a shelf by their names, by the run folder's name.

    Args:
        path: the shelf.

    Raises:
        UserError: it is missing, cannot be read, is damaged, or holds more than 64 MB.
    """
    try:
        about = path.stat()
        key = (str(path), about.st_mtime_ns, about.st_size)
        if key not in _kept:
            if not path.is_file() or about.st_size > LARGEST:
                raise UserError(f"{path}: no plain file of at most {LARGEST} bytes")
            _keep(key, _read(path))
        return _kept[key]
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def has(path: Path, run: str) -> bool:
    """Returns whether a shelf exists and holds a run; also True for a damaged shelf, so that reading the run raises its error.

    Args:
        path: the shelf.
        run: the run folder's name.
    """
    try:
        return path.is_file() and run in runs(path)
    except UserError:
        return True


def packed(contents: Mapping[str, Mapping[str, bytes]], path: Path) -> bytes:
    """Returns the bytes of a shelf; equal runs give equal bytes.

    Args:
        contents: the files of each run by their names, by the run folder's name.
        path: where it is to lie, for the message.

    Raises:
        UserError: they are more than 64 MB, which nothing would read.
    """
    if (size := sum(len(data) for files in contents.values() for data in files.values())) > LARGEST:
        raise UserError(
            f"{path}: {len(contents)} runs of {size} bytes, and one file holds at most {LARGEST}; leave files out "
            "(--without rank.csv,spectrum.csv), or pack without --together"
        )
    # By the file's name first: equal kinds of files lie beside each other, and compress better.
    order = sorted((name, run) for run, files in contents.items() for name in files)
    whole = zipped({f"{run}/{name}": contents[run][name] for name, run in order}, zipfile.ZIP_STORED)
    return lzma.compress(whole, preset=9 | lzma.PRESET_EXTREME)


def zipped(contents: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Returns the bytes of a zip file; equal contents in equal order give equal bytes.

    Args:
        contents: the files by their names, in the order in which they are written.
        compression: one of `zipfile`'s.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in contents.items():
            about = zipfile.ZipInfo(name, EPOCH)
            about.create_system, about.external_attr = 3, 0o644 << 16  # equal bytes also on Windows
            archive.writestr(about, data, compression, compresslevel=9)
    return out.getvalue()


def stands_for(path: Path) -> Path | None:
    """Returns the folder whose run folders a file holds; None if it is no plain file with a shelf's name.

    Args:
        path: the file.
    """
    if not path.name.endswith(SHELF) or path.name == SHELF or not path.is_file():
        return None
    return path.with_name(path.name.removesuffix(SHELF))


_kept: dict[tuple[str, int, int], Contents] = {}  # by path, time and size, the oldest first


def _keep(key: tuple[str, int, int], found: Contents) -> None:
    """Keeps what was read last, and as much of what was read before as the limit allows."""
    _kept[key] = found
    sizes = {each: sum(len(data) for files in held.values() for data in files.values()) for each, held in _kept.items()}
    for old in list(_kept)[:-1]:
        if sum(sizes[each] for each in _kept) > KEPT:
            del _kept[old]


def _read(path: Path) -> Contents:
    found: Contents = {}
    try:
        with zipfile.ZipFile(io.BytesIO(_decompressed(path))) as archive:
            entries = archive.infolist()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not stored or sum(entry.file_size for entry in entries) > LARGEST:
                raise UserError(f"{path}: damaged, not runs packed together")
            for entry in entries:
                run, name = _names(path, entry.filename)
                if name in found.setdefault(run, {}):
                    raise UserError(f"{path}: damaged, {entry.filename!r} stands twice")
                found[run][name] = archive.read(entry)
    except DAMAGE as error:
        raise UserError(f"{path}: damaged, not runs packed together") from error
    return {run: files for run, files in found.items() if CONFIG in files}


def _names(path: Path, entry: str) -> tuple[str, str]:
    """Returns the names of the run folder and of the file in it."""
    run, _, name = entry.partition("/")
    if not (is_plain(run) and is_plain(name)):
        raise UserError(f"{path}: damaged, {entry!r} is no file of a run")
    return run, name


def is_plain(name: str) -> bool:
    """Returns whether a name in a packed file names a file or folder directly, and nothing elsewhere.

    Args:
        name: the name.
    """
    return name not in ("", ".", "..") and name.isprintable() and "/" not in name and "\\" not in name


def _decompressed(path: Path) -> bytes:
    """Returns the bytes of the zip file within, at most twice the limit, since it also holds names."""
    decompressor = lzma.LZMADecompressor(memlimit=2**30)
    found = decompressor.decompress(path.read_bytes(), max_length=2 * LARGEST + 1)
    if len(found) > 2 * LARGEST:
        raise UserError(f"{path}: more than {LARGEST} bytes of runs")
    if not decompressor.eof:
        raise EOFError
    return found
