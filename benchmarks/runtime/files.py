"""Writing and reading files so that a kill, a full disk or a damaged file never costs more than a clear line."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from benchmarks.config.errors import UserError


SAMPLED, SAMPLE_BYTES = 16, 2**20  # files whose beginning is part of a fingerprint


def check_writable(path: Path) -> None:
    """Finds out before anything slow is done, and without making the folder. Raises UserError."""
    there = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise UserError(
            f"{path}: cannot be written: {there} is no folder that may be written in; choose another folder"
        )


def user_cache() -> Path | None:
    """This project's folder in the user's cache folder; None where that can't be written in."""
    path = user_cache_path("nusa-bench")
    try:
        check_writable(path)
    except UserError:
        return None
    return path


def fingerprint(root: Path, paths: Iterable[Path]) -> str:
    """SHA-256 over the names below `root`, sizes and times of last change of files, and the content of a few of them.

    The same data elsewhere are the same. A file that is gone counts as such; whoever needs it finds out by reading it.
    """
    paths, digest = list(paths), hashlib.sha256()
    for path in paths[:: max(len(paths) // SAMPLED, 1)]:  # others may share names, sizes and times: unpacked archives
        with contextlib.suppress(OSError), path.open("rb") as file:
            digest.update(file.read(SAMPLE_BYTES))
    for path in paths:
        try:
            found = path.stat()
            about = f"{found.st_size}\0{found.st_mtime_ns}"
        except OSError:
            about = "gone"
        digest.update(os.fsencode(str(path).removeprefix(str(root))) + f"\0{about}\n".encode())
    return digest.hexdigest()


def checksum(paths: Iterable[Path]) -> str:
    """SHA-256 over the content of files, in their order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Whole or not at all: written beside its place, flushed to the disk, then renamed.

    Raises:
        UserError: cannot be written (full disk, no permission), naming the file; what stood there stays.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: cannot be written: it is no file; choose another name")
    path = path.resolve()  # a link stays one
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Indented, in the order given; refuses NaN, which is no JSON."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Raises UserError naming the file if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: damaged, not valid JSON") from error
