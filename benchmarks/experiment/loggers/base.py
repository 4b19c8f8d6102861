"""The interface of loggers, and which of them a run has."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.config.terminal import say
from benchmarks.experiment.loggers.content import Entry, at_end, of_state, states
from benchmarks.experiment.measurements.base import Callback, RunState
from benchmarks.runs.read import Run, read


class Log(Callback):
    """Base of loggers, which send what a run folder holds to a service. A subclass defines the three methods below.

    A logger follows the folder, not the training: after each state it sends what the files have of it, so that a run that
    was interrupted goes on in the same log with nothing twice. It never ends a run: where it fails, a line says so, and
    the run goes on without it.

    Attributes:
        name: its name on the command line.
        package: the Python package that it needs.
        failed: whether it has failed, after which it sends nothing more.
    """

    name: ClassVar[str]
    package: ClassVar[str]

    def __init__(self) -> None:
        self.failed = False

    def sent(self, folder: Path) -> int:
        """Returns how many states have been sent of the run in a folder, also by an earlier process.

        Args:
            folder: the run folder.
        """
        raise NotImplementedError

    def send(self, run: Run, state: int, entries: Sequence[Entry]) -> None:
        """Sends what is known of a state.

        Args:
            run: the run.
            state: the number of tasks learned, 0 to T.
            entries: the values, in rising order of `Entry.place`.
        """
        raise NotImplementedError

    def send_end(self, run: Run, metrics: Entry, plots: Sequence[Path]) -> None:
        """Sends the metrics and plots of a finished run, unless they have been sent, and closes the log.

        Args:
            run: the run.
            metrics: Transfer, Avg, Last and forgetting.
            plots: the plots, png files in the run folder; none if they were not drawn.
        """
        raise NotImplementedError

    def on_saved(self, run: RunState) -> None:
        """Sends the state that has just been written, and those before it that were not sent."""
        if run.is_first:
            self.follow(run.folder)

    def follow(self, folder: Path, *, to_the_end: bool = False) -> None:
        """Sends all of a run that has not been sent.

        Args:
            folder: the run folder.
            to_the_end: whether the run is finished and its plots are drawn.
        """
        if self.failed:
            return
        try:
            run = read(folder)
            for state in range(self.sent(folder), states(run)):
                self.send(run, state, of_state(run, state))
            if to_the_end:
                self.send_end(run, at_end(run), sorted((folder / "plots").glob("*.png")))
        except Exception as error:  # of a service and its package, which may raise anything
            self.failed = True
            why = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            say(f"--log {self.name}: {' '.join(why.split()):.300}; the run goes on without it")


def own_folder(folder: Path, name: str) -> Path:
    """Returns the folder of a logger in a run folder.

    Args:
        folder: the run folder.
        name: of the logger's folder.

    Raises:
        UserError: it is a link, through which nothing is written, or no folder.
    """
    place = folder / name
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise UserError(f"{place}: a link, or no folder, into which nothing is written; delete it")
    return place


def chosen(names: Sequence[str]) -> list[Log]:
    """Returns a new logger for each name.

    Args:
        names: names of loggers, each once.

    Raises:
        UserError: there is no such logger (the message offers the nearest), or its package is not installed.
    """
    found: list[Log] = []
    for name in names:
        source = registry.find("logger", name)
        try:
            logger = source.load().Logger
            importlib.import_module(logger.package)
        except (UserError, ImportError) as error:
            lacking = error if isinstance(error, ImportError) else error.__cause__
            if not isinstance(lacking, ImportError):
                raise
            raise UserError(
                f'--log {name}: the package {lacking.name} is not installed; pip install "nusa-bench[{name}]"'
            ) from error
        if not (isinstance(logger, type) and issubclass(logger, Log)):
            raise UserError(
                f"{source.file}: its Logger is no Log; derive it from benchmarks.experiment.loggers.base.Log"
            )
        found.append(logger())
    return found
