"""What the workers of a sweep tell its driver while they run; an actor on the driver's machine."""

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.config.errors import Busy, UserError
from benchmarks.runs.write import locked
from benchmarks.runtime import files
from benchmarks.sweep.outcomes import Outcome, Progress


class Board:
    """Keeps the progress of all runs that go on, and the files of runs whose workers have no disk in common with it.

    Args:
        results: the folder of all run folders, on this machine.
        holds: whether it holds the locks of the run folders there, since the workers write into others.
    """

    def __init__(self, results: Path, *, holds: bool = False) -> None:
        self.results, self.holds = results, holds
        self.stopped = False
        self._attempts: dict[str, int] = {}
        self._locks: dict[str, ExitStack] = {}
        self._heard: dict[str, tuple[float, Progress]] = {}

    def begin(self, name: str, attempt: int) -> Outcome | None:
        """Notes that a worker gets a run; an earlier worker of it, which may live on unseen, is not listened to any more.

        Args:
            name: the run folder below that of all results.
            attempt: a number that no earlier attempt at this run had.

        Returns:
            None; or how the run ended before it began, if another process writes into its folder, or nobody can.
        """
        if self.holds:
            lock = ExitStack()
            try:
                lock.enter_context(locked(self.results / name, soon=0))
            except UserError as error:
                return Outcome("busy" if isinstance(error, Busy) else "failed", str(error))
            self._locks[name] = lock
        self._attempts[name] = attempt
        return None

    def tell(self, name: str, attempt: int, progress: Progress) -> bool:
        """Notes the progress of a run, and returns whether the run is to end after this step.

        Args:
            name: the run folder below that of all results.
            attempt: the number of the attempt.
            progress: how far the run is.
        """
        if self._attempts.get(name) != attempt:
            return True
        self._heard[name] = (time.monotonic(), progress)
        return self.stopped

    def read(self) -> dict[str, Progress]:
        """Returns the progress of the runs that go on, by their names."""
        now = time.monotonic()
        return {name: replace(progress, quiet=now - when) for name, (when, progress) in self._heard.items()}

    def forget(self, name: str) -> None:
        """Drops a run that goes on no more.

        Args:
            name: the run folder below that of all results.
        """
        self._heard.pop(name, None)
        self._attempts.pop(name, None)
        if lock := self._locks.pop(name, None):
            lock.close()

    def stop(self) -> None:
        """Lets every run end after its present step."""
        self.stopped = True

    def release(self) -> None:
        """Releases the locks that it holds, before its process ends."""
        for name in list(self._locks):
            self.forget(name)

    def fetch(self, name: str) -> dict[str, bytes]:
        """Returns the files of a run folder by name, without those in subfolders; empty if there is none.

        Args:
            name: the run folder below that of all results.
        """
        folder = self.results / name
        if not folder.is_dir():
            return {}
        return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file() and file.name[0] != "."}

    def store(self, name: str, attempt: int, content: dict[str, bytes], gone: list[str]) -> None:
        """Writes files into a run folder, each completely or not at all; those of an earlier attempt are not written.

        Args:
            name: the run folder below that of all results.
            attempt: the number of the attempt.
            content: the files by their path in the folder, in the order in which they are written.
            gone: the names of files to delete afterwards.

        Raises:
            UserError: a file cannot be written, or a subfolder is a link.
        """
        if self._attempts.get(name) != attempt:
            return
        folder = (self.results / name).resolve()
        for path in (*content, *gone):
            if (place := (folder / path).parent).resolve() != place:
                raise UserError(f"{place}: a link, through which nothing is written; delete it")
        for path, data in content.items():
            files.write_bytes(self.results / name / path, data)
        for path in gone:
            (self.results / name / path).unlink(missing_ok=True)
