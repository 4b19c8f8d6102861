"""The files of a run on a machine that does not see the results folder: fetched from the driver, and sent back there."""

from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from benchmarks.config.errors import Busy, UserError, of_the_system
from benchmarks.runs.write import CHECKPOINT
from benchmarks.runtime import files, locks
from benchmarks.sweep.cluster import first_line


LAST = "run.json"  # sent last, so that a folder that says it is finished holds everything


class DriverError(UserError):
    """The driver's machine cannot read or write; no other worker's machine would do better."""


class Mirror:
    """The files of one run, which the driver's machine gets as they change.

    Args:
        name: the run folder below that of all results.
        attempt: the number of the attempt.
        folder: the run folder here.
        board: the actor `Board` on the driver's machine.
    """

    def __init__(self, name: str, attempt: int, folder: Path, board: Any) -> None:
        self.name, self.attempt, self.folder, self.board = name, attempt, folder, board
        self._sent: dict[str, tuple[int, int]] = {}

    def fetch(self) -> None:
        """Takes over the files that the driver's machine has, and nothing else.

        Raises:
            Busy: another process writes into the folder here, which may be a worker of a driver that was killed.
            DriverError: the driver's machine cannot read its files.
            UserError: a file cannot be written.
        """
        found = _answer(self.board.fetch.remote(self.name))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locks.locked(self.folder, self._refuse):
                for file in self._files().values():
                    file.unlink()
                for path, data in found.items():
                    files.write_bytes(self.folder / path, data)
                self._sent = {path: _changed(file) for path, file in self._files().items()}
        except OSError as error:
            raise of_the_system(error) from error

    def _refuse(self, who: str, since: str) -> None:
        raise Busy(f"{self.folder}: another run is writing here ({who}, since {since})")

    def send(self) -> None:
        """Sends the files that have changed, the checkpoint first and `run.json` last, and returns when they are written.

        Raises:
            DriverError: one cannot be written there.
        """
        found = {path: (file, _changed(file)) for path, file in self._files().items()}
        order = sorted(found, key=lambda path: (path != CHECKPOINT, path == LAST, path))
        content = {path: found[path][0].read_bytes() for path in order if self._sent.get(path) != found[path][1]}
        gone = [path for path in self._sent if path not in found]
        _answer(self.board.store.remote(self.name, self.attempt, content, gone))
        self._sent = {path: when for path, (_, when) in found.items()}

    def _files(self) -> dict[str, Path]:
        found = [file for file in self.folder.rglob("*") if file.is_file() and file.name[0] != "."]
        return {file.relative_to(self.folder).as_posix(): file for file in found}


def _answer(reference: Any) -> Any:
    """Returns the answer of the board; its error is one line, where Ray's has a traceback in it.

    While the driver is out of reach the run ends as if it had been told to, so that it goes on later.
    """
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise DriverError(" ".join(str(error.cause).split())) from error
    except RayError as error:
        raise KeyboardInterrupt(f"the driver's machine could not be reached: {first_line(error)}") from error


def _changed(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_mtime_ns, found.st_size
