"""Shows how far a sweep is: a table that is drawn anew on a terminal, and a line for each event where there is none."""

import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from benchmarks.config.terminal import plain
from benchmarks.sweep.cells import Cell
from benchmarks.sweep.outcomes import Outcome, Progress
from benchmarks.sweep.states import Standing


EVERY = 2.0  # seconds between two estimates of the time that is left


class View:
    """The display of a sweep on stderr, while it is used as a context manager.

    Args:
        cells: the runs that are to be done.
        known: all runs of the sweep and where each stands, by which times are estimated.
        silent: whether to print nothing.
    """

    def __init__(self, cells: Sequence[Cell], known: Iterable[tuple[Cell, Standing]], *, silent: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, quiet=silent)
        self.total, self.done, self.failures = len(cells), 0, 0
        self._left = {cell.name: cell for cell in cells}
        self._running: dict[str, tuple[float, str]] = {}  # when it began, and on which machine
        self._times, self._estimated = Times(), 0.0
        self._progress: Mapping[str, Progress] = {}
        self._seconds: float | None = None  # that all runs still take
        for cell, standing in known:
            self._times.note(cell, standing.seconds)
        self._live = Live(console=self.console, auto_refresh=False, transient=True)

    def __enter__(self) -> "View":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """Prints a line that stays.

        Args:
            line: the line.
        """
        self.console.print(plain(line), markup=False, soft_wrap=True)

    def began(self, cell: Cell, node: str) -> None:
        """Notes that a worker has got a run.

        Args:
            cell: the run.
            node: the name of the worker's machine.
        """
        self._running[cell.name] = time.monotonic(), node

    def waits(self, cell: Cell, why: str) -> None:
        """Notes that a run that had begun has to wait for another worker.

        Args:
            cell: the run.
            why: the reason; empty if it was said before.
        """
        self._running.pop(cell.name, None)
        if why:
            self.say(f"{cell.name}: {why}")

    def finished(self, cell: Cell, seconds: Sequence[float]) -> None:
        """Notes that a run is finished.

        Args:
            cell: the run.
            seconds: of each of its tasks.
        """
        self.done += 1
        self._times.note(cell, seconds)
        self._ended(cell, "finished")

    def failed(self, cell: Cell, outcome: Outcome) -> None:
        """Notes that a run failed.

        Args:
            cell: the run.
            outcome: how it ended.
        """
        self.failures += 1
        self._ended(cell, f"failed: {outcome.error}")

    def _ended(self, cell: Cell, how: str) -> None:
        now = time.monotonic()
        began, _ = self._running.get(cell.name, (now, ""))
        self._left.pop(cell.name, None)
        left = self._time_left()  # while this run still counts among those at once, since another takes its place
        self._running.pop(cell.name, None)
        self.say(f"{self.done + self.failures}/{self.total} {cell.name}: {how}, {shown(now - began)}{left}")

    def show(self, progress: Mapping[str, Progress]) -> None:
        """Draws the table anew; where there is no terminal, the next line's estimate goes by it.

        Args:
            progress: how far the runs that go on are, by their names.
        """
        self._progress = progress
        if not self.console.is_terminal:
            return
        rows = [self._row(name, progress.get(name)) for name in self._running]
        room = max(self.console.height - 3, 1)
        hidden = [f"... and {len(rows) - room} more"] if len(rows) > room else []
        failed = f", {self.failures} failed" if self.failures else ""
        head = f"{self.done} of {self.total} done{failed}, {len(rows)} running, {len(self._left) - len(rows)} to do"
        head += self._time_left()
        lines = [plain(line) for line in [head, *rows[:room], *hidden]]
        self._live.update(Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines)), refresh=True)

    def _row(self, name: str, progress: Progress | None) -> str:
        """How far a run is, before its name, of which a narrow terminal shows the beginning."""
        where = f"{name} on {self._running[name][1]}"
        if progress is None or not progress.tasks:
            return f"  starting: {where}"
        step = f", step {progress.step} of {progress.steps}" if progress.steps else ""
        left = self._times.left(self._left[name], progress) if name in self._left else None
        return f"  {progress.learned} of {progress.tasks} tasks{step}{_about(left)}: {where}"

    def _time_left(self) -> str:
        """What all runs still take, those of which nothing is known like the mean of the others."""
        if time.monotonic() - self._estimated > EVERY:
            known = [self._times.left(cell, self._progress.get(name)) for name, cell in self._left.items()]
            seconds = [each for each in known if each is not None]
            at_once = max(len(self._running), 1)
            self._seconds = sum(seconds) / len(seconds) * len(known) / at_once if seconds else None
            self._estimated = time.monotonic()
        return _about(self._seconds)


class Times:
    """How long runs take, by those that are known: of the same strategy and stream, or else of any."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], tuple[float, int]] = {}  # seconds of all learned tasks, and their number

    def note(self, cell: Cell, seconds: Sequence[float]) -> None:
        """Notes what the learned tasks of a run took.

        Args:
            cell: the run.
            seconds: of each task.
        """
        for key in _keys(cell):
            total, count = self._known.get(key, (0.0, 0))
            self._known[key] = total + sum(seconds), count + len(seconds)

    def left(self, cell: Cell, progress: Progress | None) -> float | None:
        """Returns the seconds that a run still takes; None if nothing like it is known.

        Args:
            cell: the run.
            progress: how far it is; None if it has not begun.
        """
        for key in _keys(cell):
            total, count = self._known.get(key, (0.0, 0))
            if count:
                tasks = progress.tasks if progress and progress.tasks else cell.tasks
                done = progress.learned + (progress.step / progress.steps if progress.steps else 0) if progress else 0.0
                return total / count * max(tasks - done, 0.0)
        return None


def _keys(cell: Cell) -> list[tuple[str, ...]]:
    common = cell.request.config.common
    return [(common.strategy, common.stream, str(common.iterations)), (common.stream,), ()]


def shown(seconds: float) -> str:
    """Returns a time in words, such as `42 s`, `17 min` or `3 h 20 min`.

    Args:
        seconds: the time.
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _about(seconds: float | None) -> str:
    return "" if seconds is None else f", about {shown(seconds)} left"
