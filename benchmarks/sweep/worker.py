"""A process of a sweep that does one run after another, so that imports are paid once; an actor on any machine."""

import contextlib
import os
import platform
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from benchmarks.config.errors import Busy, Diverged, OutOfMemory, UserError
from benchmarks.experiment.request import Request
from benchmarks.runtime import files, repository
from benchmarks.sweep.cells import Shared, request
from benchmarks.sweep.mirror import DriverError, Mirror
from benchmarks.sweep.outcomes import Outcome, Progress, Ready, code_digest


LOG = "log.txt"


@dataclass(frozen=True)
class Setup:
    """How a worker is set up.

    Attributes:
        shared: what all runs have in common; its paths are absolute.
        folder: the working folder of the driver, below which relative paths lie.
        threads: number of threads that torch uses.
        gpus: whether runs have a GPU, or a share of one.
        marker: a file in the results folder by which a worker knows that it sees the driver's disk.
        scratch: the folder for run folders where a worker does not see it; None if all do.
        code: `code_digest` of the driver's code when the sweep began.
    """

    shared: Shared
    folder: Path
    threads: int
    gpus: bool
    marker: Path
    scratch: Path | None = None
    code: str = field(default_factory=code_digest)


class Worker:
    """Does runs.

    Args:
        setup: how it is set up.
        board: the actor `Board`, which is told of the progress.
    """

    def __init__(self, setup: Setup, board: Any) -> None:
        self.setup, self.board = setup, board

    def ready(self) -> Ready:
        """Prepares the process for runs, and returns what it is and whether it can do them."""
        if not self.setup.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # else all runs of the machine would take the same GPU
        repository.code_commit()  # noted now, when the code has been read
        return Ready(platform.node(), ray.get_runtime_context().get_node_id(), code_digest(), self.wrong())

    def wrong(self) -> str:
        """Returns why no runs can be done on this machine, in one line; empty if they can."""
        place = self.setup.scratch or self.setup.shared.places.results
        try:
            os.chdir(self.setup.folder if self.setup.folder.is_dir() else "/")
            files.check_writable(place)
        except (UserError, OSError) as error:
            return str(error)
        if not self.setup.scratch and not self.setup.marker.exists():
            return f"{place}: not the driver's folder; --scratch DIR is for machines that have no disk in common"
        return ""

    def run(self, name: str, attempt: int, given: Mapping[str, Any], sha256: str) -> Outcome:
        """Does a run, or goes on with one, and returns how it ended.

        Args:
            name: the run folder below that of all results.
            attempt: a number that no earlier attempt at this run had.
            given: the settings by name.
            sha256: digest of the file that defines the method, as the driver has it.
        """
        try:
            asked = self._request(name, given, sha256)
        except UserError as error:
            return Outcome("failed", str(error))
        if not self.setup.scratch:
            return self._logged(name, asked, lambda: self._complete(name, attempt, asked, lambda: None))
        places = replace(asked.places, results=self.setup.scratch)
        asked = replace(asked, places=places, folder=self.setup.scratch / name)
        mirror = Mirror(name, attempt, asked.folder, self.board)
        fetched = _outcome(mirror.fetch)
        if fetched.status != "finished":
            return fetched
        done = self._logged(name, asked, lambda: self._complete(name, attempt, asked, mirror.send))
        sent = _outcome(mirror.send)
        return done if sent.status == "finished" else sent  # what keeps files from being sent has also ended the run

    def _request(self, name: str, given: Mapping[str, Any], sha256: str) -> Request:
        """Returns the run; raises UserError if this machine would make another one of the same settings."""
        asked = request(given, self.setup.shared)
        if asked.config.strategy.sha256 != sha256:
            raise UserError(f"{given['strategy']}: other code on {platform.node()} than on the driver's machine")
        if asked.folder != self.setup.shared.places.results / name:
            raise UserError(f"{name}: other default settings on {platform.node()} than on the driver's machine")
        return asked

    def _logged(self, name: str, asked: Request, work: Callable[[], None]) -> Outcome:
        """Returns how a run ended, with the log's path on the driver's side if it failed."""
        try:
            files.check_plain(asked.folder / LOG)
            with _written(asked.folder / LOG):
                found = _outcome(work)
        except UserError as error:
            return Outcome("failed", str(error))
        return replace(found, log=str(self.setup.shared.places.results / name / LOG) if found.error else "")

    def _complete(self, name: str, attempt: int, asked: Request, save: Callable[[], None]) -> None:
        from benchmarks.sweep.progress import complete  # here, since it imports torch, which the driver does without

        def tell(progress: Progress) -> bool:
            try:
                return bool(ray.get(self.board.tell.remote(name, attempt, progress)))
            except RayError:  # the driver is out of reach for a moment; one that has ended takes its workers with it
                return False

        complete(asked, self.setup.threads, tell, save, plots=self.setup.shared.plots)


def _outcome(work: Callable[[], None]) -> Outcome:
    """Does work of a run, and returns how it ended; the traceback of an error is printed, for the log."""
    try:
        work()
    except Busy as error:
        return Outcome("busy", str(error))
    except OutOfMemory as error:
        return Outcome("memory", str(error))
    except UserError as error:
        traceback.print_exc()
        return Outcome("failed", str(error), elsewhere=not isinstance(error, Diverged | DriverError))
    except KeyboardInterrupt as error:
        return Outcome("interrupted", " ".join(map(str, error.args)))
    except Exception as error:  # of a library, or a mistake of ours: the next run is another one
        traceback.print_exc()
        return Outcome("failed", " ".join(f"{type(error).__name__}: {error}".split()))
    return Outcome("finished")


@contextmanager
def _written(log: Path) -> Iterator[None]:
    """Context in which all that the process prints, its libraries too, is added to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as until_done:
        file = until_done.enter_context(log.open("ab"))
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            stream.flush()
            kept = os.dup(number)
            until_done.callback(os.close, kept)
            os.dup2(file.fileno(), number)
            until_done.callback(os.dup2, kept, number)
            until_done.callback(stream.flush)
        yield
