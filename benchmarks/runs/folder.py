"""Finds and reads the files of a run: in its run folder, or packed, alone or with others.

`results/micro/nusa/seed42` is a run if the folder `seed42` or the file `seed42.zip` exists, or if `nusa.runs.zip.xz` holds
it; if several do, the first of these counts. `benchmarks.runs.pack` converts one into the other.
"""

import errno
import hashlib
import json
import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.config.bounded import from_json
from benchmarks.config.errors import UserError
from benchmarks.runs import shelf


LARGEST = 2**30  # bytes of a file that is read whole
NAMED = 3  # folders that a line names one by one
PACKED = ".zip"
STREAM = "stream.json"
LEFT_OUT = "left_out.json"  # in a packed run: the names of files that it was packed without
RANK, RANK_MEANS = "rank.csv", "rank_means.csv"  # the latter in a run that was packed without the former
STREAMS = "streams"  # the folder above packed runs that stores each different `stream.json` once, named by its sha256


@dataclass(frozen=True)
class RunFiles:
    """Reads the files of one run, from its folder or from the file into which it was packed.

    Attributes:
        folder: the run folder. If it has no `config.yaml`, the files are read from the zip file of the same name plus
            `.zip`, or from the shelf (`shelf.py`) of the folder above.
    """

    folder: Path

    @classmethod
    def of(cls, place: Path) -> "RunFiles":
        """Returns the files of a run. Nothing is read yet, so that a place without a run raises no error.

        Args:
            place: the run folder, or the zip file of a packed run.
        """
        return cls(place.with_name(place.name.removesuffix(PACKED)) if place.is_file() else place)

    @property
    def archive(self) -> Path:
        """The path of the run's zip file, which is the folder's path plus `.zip`, whether it exists or not."""
        return Path(f"{self.folder}{PACKED}")

    @property
    def is_packed(self) -> bool:
        """Whether the files are read from a zip file or a shelf: there is one, and the folder has no `config.yaml`."""
        return not (self.folder / "config.yaml").exists() and (self.archive.is_file() or self._is_shelved)

    @property
    def _shelf(self) -> Path:
        return shelf.of(self.folder.parent)

    @property
    def _is_shelved(self) -> bool:
        return not self.archive.is_file() and shelf.has(self._shelf, self.folder.name)

    def at(self, name: str) -> Path:
        """Returns the path of a file to show in messages; for a packed run it leads into the file it was packed in.

        Args:
            name: of the file, for instance `config.yaml`.
        """
        if not self.is_packed:
            return self.folder / name
        return (self._shelf / self.folder.name if self._is_shelved else self.archive) / name

    def names(self) -> list[str]:
        """Returns the names of the run's files, sorted, without those in subfolders (plots).

        Raises:
            UserError: the file into which it was packed is damaged.
        """
        if not self.is_packed:
            return sorted(file.name for file in self.folder.iterdir() if file.is_file())
        if self._is_shelved:
            return sorted(shelf.runs(self._shelf)[self.folder.name])
        try:
            with zipfile.ZipFile(self.archive) as archive:
                return sorted(_plain_names(archive, self.archive))
        except (OSError, *shelf.DAMAGE) as error:
            raise UserError(f"{self.archive}: damaged, not a run packed as a zip file") from error

    def has(self, name: str) -> bool:
        """Returns whether the run has a file.

        Args:
            name: of the file, for instance `rank.csv`.
        """
        return name in self.names() if self.is_packed else (self.folder / name).is_file()

    def data(self, name: str) -> bytes:
        """Returns a file's bytes.

        Packed runs with equal `stream.json` have one copy of it, in a folder `streams` above them; then the bytes of
        that copy are returned.

        Args:
            name: of the file, for instance `config.yaml`.

        Raises:
            UserError: the file is missing or cannot be read, or the zip file or the copy of `stream.json` is damaged.
        """
        try:
            found = self._data(name)
        except KeyError as error:
            raise UserError(f"{self.at(name)}: cannot be read: {os.strerror(errno.ENOENT)}") from error
        except OSError as error:
            raise UserError(f"{self.at(name)}: cannot be read: {error.strerror}") from error
        except shelf.DAMAGE as error:
            raise UserError(f"{self.archive}: damaged, not a run packed as a zip file") from error
        digest = named_digest(found) if name == STREAM else None
        return found if digest is None else self._shared_stream(digest)

    def lacks(self, name: str) -> bool:
        """Returns whether the run was packed without a file.

        Args:
            name: of the file, for instance `rank.csv`.

        Raises:
            UserError: the list of these files is damaged.
        """
        return not self.has(name) and name in self.left_out()

    def left_out(self) -> list[str]:
        """Returns the names of the files that the run was packed without; empty if it has them all.

        Raises:
            UserError: the list of these files is damaged.
        """
        found = self.json(LEFT_OUT) if self.has(LEFT_OUT) else []
        if not (isinstance(found, list) and all(isinstance(each, str) for each in found)):
            raise UserError(f"{self.at(LEFT_OUT)}: damaged; expected a list of files' names")
        return found

    def text(self, name: str) -> str:
        """Returns a file's text.

        Args:
            name: of the file, for instance `config.yaml`.

        Raises:
            UserError: the file is missing or cannot be read, or the zip file is damaged.
            UnicodeDecodeError: the text is not UTF-8.
        """
        return self.data(name).decode("utf-8-sig")  # some editors write a mark at the beginning

    def json(self, name: str) -> Any:
        """Returns the value in a json file; `benchmarks.runs.keys` describes the keys of each.

        Args:
            name: of the file, for instance `run.json`.

        Raises:
            UserError: the file is missing or damaged.
        """
        try:
            return from_json(self.text(name))
        except ValueError as error:
            raise UserError(f"{self.at(name)}: damaged, not valid JSON") from error

    def _data(self, name: str) -> bytes:
        if not self.is_packed:
            file = self.folder / name
            if not file.is_file() and file.exists():  # a pipe would never end
                raise UserError(f"{file}: no plain file")
            if file.stat().st_size > LARGEST:
                raise UserError(f"{file}: larger than {LARGEST} bytes")
            return file.read_bytes()
        if self._is_shelved:
            return shelf.runs(self._shelf)[self.folder.name][name]
        with zipfile.ZipFile(self.archive) as archive:
            _plain_names(archive, self.archive)
            if archive.getinfo(name).file_size > shelf.LARGEST:
                raise UserError(f"{self.at(name)}: larger than {shelf.LARGEST} bytes")
            return archive.read(name)

    def _shared_stream(self, digest: str) -> bytes:
        """Returns the `stream.json` from the nearest folder `streams` above the run."""
        name = Path(STREAMS, f"{digest}.json")
        for above in self.folder.absolute().parents:
            if (above / name).is_file():
                found = (above / name).read_bytes()
                if hashlib.sha256(found).hexdigest() != digest:
                    raise UserError(f"{above / name}: changed; its sha256 is not its name any more")
                return found
        raise UserError(f"{self.at(STREAM)}: stands for {name}, which no folder above holds; keep them together")


def _plain_names(archive: zipfile.ZipFile, path: Path) -> list[str]:
    """The names of a zip file's entries; raises UserError if one stands twice or is no plain name."""
    names = archive.namelist()
    if len(set(names)) < len(names) or not all(map(shelf.is_plain, names)):
        raise UserError(f"{path}: damaged, not a run packed as a zip file")
    return names


def naming_digest(digest: str) -> bytes:
    """Returns the bytes that a packed run has as its `stream.json`: `{"sha256": DIGEST}`.

    They stand for the complete content, which is once in the file `streams/DIGEST.json` above all runs that have it.

    Args:
        digest: the SHA-256 of the complete `stream.json`, in hexadecimal.
    """
    return json.dumps({"sha256": digest}).encode()


def named_digest(data: bytes) -> str | None:
    """Returns the SHA-256, in hexadecimal, that a packed run's `stream.json` has in place of the complete content; None
    if the bytes are not of the form `{"sha256": DIGEST}`, but complete or damaged.

    The complete content is in the file `streams/DIGEST.json` of a folder above the run.

    Args:
        data: the bytes of a `stream.json`.
    """
    try:
        found = from_json(data.decode())
    except ValueError:
        return None
    return found["sha256"] if isinstance(found, dict) and found.keys() == {"sha256"} else None


@dataclass(frozen=True)
class Found:
    """The run folders at or below some places, and the folders there that were not searched.

    Attributes:
        folders: the run folders, each once. A packed run is named by the path of its run folder, which need not exist.
        unsearched: links to folders elsewhere, which are not followed since they may lead anywhere, links that lead
            nowhere, and folders that this process may not read.
    """

    folders: list[Path]
    unsearched: list[Path]

    @property
    def remark(self) -> str:
        """A line that counts and names the folders that were not searched; empty if all were."""
        count = len(self.unsearched)
        if not count:
            return ""
        named = ", ".join(map(str, self.unsearched[:NAMED])) + (f" and {count - NAMED} more" if count > NAMED else "")
        what = f"{count} linked or unreadable folder{'' if count == 1 else 's'}"
        return f"{what} not searched for runs: {named}; name a linked folder itself to have its runs"


def find(places: Iterable[Path]) -> Found:
    """Returns the run folders at or below some places: place by place, and sorted by path below each.

    A place may be a link; links to folders below a place are not followed, but the result has those that lead out of all
    places.

    Args:
        places: run folders, packed runs, or folders above them.

    Raises:
        UserError: a place is missing, or there is no run in it.
    """
    found: dict[Path, None] = {}
    unsearched: dict[Path, None] = {}
    places = list(places)
    whole = [os.path.realpath(place) for place in places]
    for place in places:
        files = RunFiles.of(place)
        missed: list[Path] = []
        if folder := shelf.stands_for(place):
            below = _on_shelf(place, folder)
        elif files.is_packed:
            below = {files.folder}
        elif place.is_dir() or shelf.of(place).is_file():
            below = _below(place, missed) if place.is_dir() else set()
            below |= _on_shelf(shelf.of(place), place) if shelf.of(place).is_file() else set()
        else:
            wrong = "a file, not a folder" if place.exists() else "no such folder"
            raise UserError(f"{place}: {wrong}; name run folders, or folders that hold some (results/)")
        missed = [each for each in missed if not (each.is_symlink() and _lies_in(each, whole))]
        if not below:
            also = Found([], sorted(missed)).remark
            raise UserError(f"{place}: no run folder there (none holds a config.yaml){also and f'; {also}'}")
        found |= dict.fromkeys(sorted(below))
        unsearched |= dict.fromkeys(sorted(missed))
    return Found(list(found), list(unsearched))


def _lies_in(link: Path, places: list[str]) -> bool:
    """Returns whether a link leads into one of the places, which are searched anyway."""
    return any(Path(os.path.realpath(link)).is_relative_to(place) for place in places)


def _below(place: Path, missed: list[Path]) -> set[Path]:
    """Returns the run folders at or below a folder; links and folders that cannot be read are appended to `missed`."""
    runs, waiting = set(), [place]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                there = list(entries)
        except OSError:
            missed.append(folder)
            continue
        for entry in there:
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif entry.is_symlink() and not path.is_file():
                missed.append(path)
            elif entry.name == "config.yaml":
                runs.add(folder)
            elif stood_for := shelf.stands_for(path):
                runs |= _on_shelf(path, stood_for)
            elif entry.name.endswith(PACKED) and _holds_run(path):
                runs.add(RunFiles.of(path).folder)
    return runs


def _on_shelf(path: Path, folder: Path) -> set[Path]:
    """Returns the folders of a shelf's runs, below the folder that it stands for; of a damaged one a folder that does not
    exist, so that reading it raises an error.
    """
    try:
        return {folder / name for name in shelf.runs(path)}
    except UserError:
        return {folder / "?"}


def _holds_run(archive: Path) -> bool:
    """Returns whether a zip file is a packed run; also true for a damaged one, so that reading it raises an error."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return "config.yaml" in opened.namelist()
    except (OSError, *shelf.DAMAGE):
        return True
