"""Where the files of a run lie: in its run folder, or packed in one zip file of the folder's name.

`results/micro/nusa/seed42` is a run whether `seed42/` holds its files or `seed42.zip` does; where both are there, the
folder counts. `benchmarks.runs.pack` makes one from the other.
"""

import errno
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.config.errors import UserError


PACKED = ".zip"
STREAM = "stream.json"
STREAMS = "streams"  # the folder above packed runs that holds each `stream.json` of theirs once, named by its sha256


@dataclass(frozen=True)
class RunFiles:
    """The files of one run.

    Attributes:
        folder: the run folder, which need not exist if the run is packed.
    """

    folder: Path

    @classmethod
    def of(cls, place: Path) -> "RunFiles":
        """Those of a run that is named by its folder or by its zip file."""
        return cls(place.with_name(place.name.removesuffix(PACKED)) if place.is_file() else place)

    @property
    def archive(self) -> Path:
        """The zip file of a packed run."""
        return Path(f"{self.folder}{PACKED}")

    @property
    def is_packed(self) -> bool:
        """Whether the files are read from the zip file."""
        return not (self.folder / "config.yaml").exists() and self.archive.is_file()

    def at(self, name: str) -> Path:
        """A file's place, for messages: within the zip file if the run is packed."""
        return (self.archive if self.is_packed else self.folder) / name

    def names(self) -> list[str]:
        """The names of the files, sorted, without those in folders below (plots).

        Raises:
            UserError: the zip file is damaged.
        """
        if not self.is_packed:
            return sorted(file.name for file in self.folder.iterdir() if file.is_file())
        try:
            with zipfile.ZipFile(self.archive) as archive:
                return sorted(archive.namelist())
        except (OSError, zipfile.BadZipFile) as error:
            raise UserError(f"{self.archive}: damaged, not a run packed as a zip file") from error

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return name in self.names() if self.is_packed else (self.folder / name).is_file()

    def data(self, name: str) -> bytes:
        """A file's bytes, those of a stream that stands elsewhere too.

        Raises:
            UserError: it is missing or cannot be read, or the zip file is damaged.
        """
        try:
            found = self._data(name)
        except KeyError as error:
            raise UserError(f"{self.at(name)}: cannot be read: {os.strerror(errno.ENOENT)}") from error
        except OSError as error:
            raise UserError(f"{self.at(name)}: cannot be read: {error.strerror}") from error
        except (zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"{self.archive}: damaged, not a run packed as a zip file") from error
        digest = named_digest(found) if name == STREAM else None
        return found if digest is None else self._shared_stream(digest)

    def text(self, name: str) -> str:
        """A file's text. Raises UserError as `data` does, and UnicodeDecodeError if it is not UTF-8."""
        return self.data(name).decode("utf-8")

    def json(self, name: str) -> Any:
        """What a json file holds. Raises UserError if it is missing or damaged."""
        try:
            return json.loads(self.text(name))
        except ValueError as error:
            raise UserError(f"{self.at(name)}: damaged, not valid JSON") from error

    def _data(self, name: str) -> bytes:
        if not self.is_packed:
            return (self.folder / name).read_bytes()
        with zipfile.ZipFile(self.archive) as archive:
            return archive.read(name)

    def _shared_stream(self, digest: str) -> bytes:
        """From the nearest folder `streams` above the run."""
        name = Path(STREAMS, f"{digest}.json")
        for above in self.folder.absolute().parents:
            if (above / name).is_file():
                found = (above / name).read_bytes()
                if hashlib.sha256(found).hexdigest() != digest:
                    raise UserError(f"{above / name}: changed; its sha256 is not its name any more")
                return found
        raise UserError(f"{self.at(STREAM)}: stands for {name}, which no folder above holds; keep them together")


def naming_digest(digest: str) -> bytes:
    """What stands in a packed run in place of `stream.json`."""
    return json.dumps({"sha256": digest}).encode()


def named_digest(data: bytes) -> str | None:
    """The digest in what `naming_digest` made; None if it is a whole `stream.json`, or a damaged one."""
    try:
        found = json.loads(data)
    except ValueError:
        return None
    return found["sha256"] if isinstance(found, dict) and found.keys() == {"sha256"} else None


def find(places: Iterable[Path]) -> list[Path]:
    """The folders of the runs at or below the given places, packed ones too, each once, sorted.

    Args:
        places: run folders, their zip files, or folders above them.

    Raises:
        UserError: a place is missing, or there is no run in it.
    """
    found: dict[Path, None] = {}
    for place in places:
        files = RunFiles.of(place)
        if files.is_packed:
            below = {files.folder}
        elif place.is_dir():
            below = {config.parent for config in place.rglob("config.yaml")}
            below |= {RunFiles.of(archive).folder for archive in place.rglob(f"*{PACKED}") if _holds_run(archive)}
        else:
            wrong = "a file, not a folder" if place.exists() else "no such folder"
            raise UserError(f"{place}: {wrong}; name run folders, or folders that hold some (results/)")
        if not below:
            raise UserError(f"{place}: no run folder there (none holds a config.yaml)")
        found |= dict.fromkeys(sorted(below))
    return list(found)


def _holds_run(archive: Path) -> bool:
    """Whether a zip file is a packed run; a damaged one counts, so that reading it says so."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return "config.yaml" in opened.namelist()
    except (OSError, zipfile.BadZipFile):
        return True
