"""A process of a sweep that does one run after another, so that imports are paid once; an actor on any machine."""

import contextlib
import os
import platform
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

from benchmarks.config.errors import Busy, OutOfMemory, UserError
from benchmarks.experiment.request import Request
from benchmarks.runs.write import CHECKPOINT
from benchmarks.runtime import files
from benchmarks.sweep.cells import Shared, request
from benchmarks.sweep.outcomes import Outcome, Progress, Ready, code_digest


LOG = "log.txt"
LAST = "run.json"  # written last, so that a folder that says it is finished holds everything


@dataclass(frozen=True)
class Post:
    """How a worker is set up.

    Attributes:
        shared: what all runs have in common; its paths are absolute.
        folder: the working folder of the driver, below which relative paths lie.
        threads: number of threads that torch uses.
        gpus: whether runs have a GPU, or a share of one.
        marker: a file in the results folder by which a worker knows that it sees the driver's disk.
        scratch: the folder for run folders where a worker does not see it; None if all do.
    """

    shared: Shared
    folder: Path
    threads: int
    gpus: bool
    marker: Path
    scratch: Path | None = None


class Worker:
    """Does runs.

    Args:
        post: how it is set up.
        board: the actor `Board`, which is told of the progress.
    """

    def __init__(self, post: Post, board: Any) -> None:
        self.post, self.board = post, board

    def ready(self) -> Ready:
        """Prepares the process for runs, and returns what it is and whether it can do them."""
        if not self.post.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # else all runs of the machine would take the same GPU
        return Ready(platform.node(), ray.get_runtime_context().get_node_id(), code_digest(), self._wrong())

    def _wrong(self) -> str:
        place = self.post.scratch or self.post.shared.places.results
        try:
            os.chdir(self.post.folder if self.post.folder.is_dir() else "/")
            files.check_writable(place)
        except (UserError, OSError) as error:
            return str(error)
        if not self.post.scratch and not self.post.marker.exists():
            return f"{place}: not the driver's folder; --scratch DIR is for machines that have no disk in common"
        return ""

    def run(self, name: str, attempt: int, given: Mapping[str, Any]) -> Outcome:
        """Does a run, or goes on with one, and returns how it ended.

        Args:
            name: the run folder below that of all results.
            attempt: a number that no earlier attempt at this run had.
            given: the settings by name.
        """
        asked = request(given, self.post.shared)
        if self.post.scratch:
            places = replace(asked.places, results=self.post.scratch)
            asked = replace(asked, places=places, folder=self.post.scratch / name)
        sent = _Sent(name, attempt, asked.folder, self.board) if self.post.scratch else None
        if sent:
            sent.fetch()
        log = asked.folder / LOG
        with _written(log):
            outcome = self._do(name, attempt, asked, sent)
        if sent:
            sent.send()
        return replace(outcome, log=str(self.post.shared.places.results / name / LOG) if outcome.error else "")

    def _do(self, name: str, attempt: int, asked: Request, sent: "_Sent | None") -> Outcome:
        try:
            self._complete(name, attempt, asked, sent)
        except Busy as error:
            return Outcome("busy", str(error))
        except OutOfMemory as error:
            return Outcome("memory", str(error))
        except UserError as error:
            traceback.print_exc()
            return Outcome("failed", str(error))
        except KeyboardInterrupt:
            return Outcome("interrupted")
        except Exception as error:  # of a library, or a mistake of ours: the next run is another one
            traceback.print_exc()
            return Outcome("failed", " ".join(f"{type(error).__name__}: {error}".split()))
        return Outcome("finished")

    def _complete(self, name: str, attempt: int, asked: Request, sent: "_Sent | None") -> None:
        from benchmarks.sweep.watch import complete  # here, since it imports torch, which the driver does without

        def tell(progress: Progress) -> bool:
            return bool(ray.get(self.board.tell.remote(name, attempt, progress)))

        complete(asked, self.post.threads, tell, sent.send if sent else lambda: None, plots=self.post.shared.plots)


class _Sent:
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
        """Takes over the files that the driver's machine has, and nothing else."""
        for file in self._files().values():
            file.unlink()
        for path, data in ray.get(self.board.fetch.remote(self.name)).items():
            files.write_bytes(self.folder / path, data)
        self._sent = {path: _changed(file) for path, file in self._files().items()}

    def send(self) -> None:
        """Sends the files that have changed, the checkpoint first and `run.json` last, and returns when they are written."""
        found = {path: (file, _changed(file)) for path, file in self._files().items()}
        order = sorted(found, key=lambda path: (path != CHECKPOINT, path == LAST, path))
        content = {path: found[path][0].read_bytes() for path in order if self._sent.get(path) != found[path][1]}
        gone = [path for path in self._sent if path not in found]
        ray.get(self.board.store.remote(self.name, self.attempt, content, gone))
        self._sent = {path: when for path, (_, when) in found.items()}

    def _files(self) -> dict[str, Path]:
        found = [file for file in self.folder.rglob("*") if file.is_file() and file.name[0] != "."]
        return {file.relative_to(self.folder).as_posix(): file for file in found}


def _changed(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_mtime_ns, found.st_size


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
