"""Reading and writing files so that a killed process, a full disk or a damaged file results in one clear message."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from benchmarks.config.bounded import from_json
from benchmarks.config.errors import UserError


READ_WHOLE = 256 * 2**20  # bytes of all files together, up to which a fingerprint is of all of them
SAMPLED, SAMPLE_BYTES = 16, 2**20  # otherwise: number of files whose first bytes enter it, and of these bytes


def check_writable(path: Path) -> None:
    """Checks that files could be written into a folder, without creating anything.

    Args:
        path: the folder. If it does not exist, its nearest existing parent must be writable.

    Raises:
        UserError: no files could be written there.
    """
    there = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise UserError(
            f"{path}: cannot be written: {there} is no folder that may be written in; choose another folder"
        )


def check_plain(file: Path) -> None:
    """Checks that a file in a stranger's folder is a plain one, if it is there: no link, which leads elsewhere, and no pipe,
    which never ends.

    Args:
        file: the file.

    Raises:
        UserError: it is something else.
    """
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise UserError(f"{file}: no plain file; delete it")


def check_readable(file: Path) -> None:
    """Checks that a file that is read is none that never ends, such as a pipe or a device; a link to a file passes.

    Args:
        file: the file, which may be missing.

    Raises:
        UserError: it is something else.
    """
    if file.exists() and not file.is_file():
        raise UserError(f"{file}: no plain file, and not read; put the file itself there")


def user_cache() -> Path | None:
    """Returns the folder for decoded images where none is named; None if it cannot be written.

    It is the one in the environment variable `NUSA_BENCH_CACHE`, else `nusa-bench` in the user's cache folder, such as
    `~/.cache/nusa-bench` on Linux. It may not exist yet. A user without a home folder has none.

    Raises:
        UserError: the folder in `NUSA_BENCH_CACHE` cannot be written.
    """
    if named := os.environ.get("NUSA_BENCH_CACHE"):
        try:
            check_writable(Path(named))
        except UserError as error:
            raise UserError(f"NUSA_BENCH_CACHE={error}") from error
        return Path(named)
    try:
        path = user_cache_path("nusa-bench")
        check_writable(path)
    except (UserError, RuntimeError):  # of platformdirs, where no home is known
        return None
    return path


def fingerprint(root: Path, paths: Iterable[Path], *, times: bool = True) -> str:
    """Returns a SHA-256 digest, in hexadecimal, by which a change of files is noticed without reading all of them.

    It is computed from the files' paths below `root`, sizes and modification times, and from their content if that is
    256 MiB at most, else from the first MiB of 16 to 31 of them. If all files are moved together with `root`, it stays
    the same. A missing file changes it, and raises no error.

    Args:
        root: the folder that contains all files.
        paths: the files, whose order counts.
        times: whether modification times count; without them, files that were copied or extracted anew are the same.
    """
    paths, digest, size = list(paths), hashlib.sha256(), 0
    for path in paths:
        try:
            found = path.stat()
            about, size = f"{found.st_size}\0{found.st_mtime_ns if times else ''}", size + found.st_size
        except OSError:
            about = "gone"
        digest.update(os.fsencode(str(path).removeprefix(str(root))) + f"\0{about}\n".encode())
    few = size <= READ_WHOLE
    for path in paths if few else paths[:: max(len(paths) // SAMPLED, 1)]:
        # Unpacked archives, and files drawn anew, may share names, sizes and times.
        with contextlib.suppress(OSError), path.open("rb") as file:
            digest.update(file.read() if few else file.read(SAMPLE_BYTES))
    return digest.hexdigest()


def checksum(paths: Iterable[Path]) -> str:
    """Returns the SHA-256 digest, in hexadecimal, of the contents of files, in their order.

    Args:
        paths: the files.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file completely or not at all: to a temporary file, which is flushed to disk and then renamed.

    A symbolic link is replaced by the file, and what it leads to is left alone.

    Args:
        path: the file; its folder is made if it does not exist.
        data: the whole content.

    Raises:
        UserError: the file cannot be written (full disk, no permission); an existing file is kept.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: cannot be written: it is no file; choose another name")
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)  # left by a killed process, or a link that somebody put there
        with temporary.open("xb") as file:  # which follows no link
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def write_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8, completely or not at all.

    Args:
        path: the file; its folder is made if it does not exist.
        text: the whole content.

    Raises:
        UserError: the file cannot be written; an existing file is kept.
    """
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes a value into a file as indented JSON, keys in their given order, completely or not at all.

    Args:
        path: the file; its folder is made if it does not exist.
        value: dicts with keys of text, lists, texts, numbers, booleans and None.

    Raises:
        ValueError: a number in the value is NaN or infinite, which JSON does not have.
        UserError: the file cannot be written; an existing file is kept.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Returns the value in a JSON file.

    Args:
        path: the file.

    Raises:
        UserError: the file is missing or damaged; the message names it.
    """
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: damaged, not valid JSON") from error
