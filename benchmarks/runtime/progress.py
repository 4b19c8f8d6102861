"""The progress display of a run: one bar with the remaining time, and a line for each finished task."""

import contextlib
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.config.terminal import plain


# Called whenever a bar moves, for whoever wants to know that a run is alive (a sweep); by default nothing.
MOVED: ContextVar[Callable[[], None]] = ContextVar("moved", default=lambda: None)


class ProgressBar:
    """A progress bar on stderr, shown while it is used as a context manager.

    Without a terminal there is no bar, and only the lines given to `say` are printed.

    Args:
        silent: whether to print nothing at all, neither the bar nor the lines.
    """

    def __init__(self, *, silent: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, quiet=silent)
        if self.console.width < 1:  # COLUMNS=0, with which rich prints nothing at all
            self.console.width = 80
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, visible=False)
        self._moved = MOVED.get()  # now: threads have a context of their own

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, what: str, total: float | None) -> None:
        """Restarts the bar for another piece of work.

        Args:
            what: the bar's label.
            total: the amount of work, in any unit; None means that it is unknown.
        """
        self._bar.reset(self._task, description=plain(what), total=total, visible=True)

    def advance(self, amount: float = 1) -> None:
        """Moves the bar forward.

        Args:
            amount: the work done since the last call, in the unit of the `total` given to `begin`.
        """
        self._bar.advance(self._task, amount)
        self._moved()

    def now(self, what: str) -> None:
        """Changes the bar's label.

        Args:
            what: what is being done now.
        """
        self._bar.update(self._task, description=plain(what))

    def say(self, line: str) -> None:
        """Prints a line on stderr that stays above the bar. It is not broken, so that a log has it as one line."""
        with contextlib.suppress(OSError, ValueError):  # stderr is full or closed, which must not end a run
            self.console.print(plain(line), markup=False, soft_wrap=True)
