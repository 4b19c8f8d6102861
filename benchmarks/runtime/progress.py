"""What a user sees of a run while it lasts: one bar with the time left, and a line for each finished task."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ProgressBar:
    """A progress bar on stderr, as a context. Without a terminal the bar is silent and the lines remain."""

    def __init__(self, *, silent: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, quiet=silent)
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

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, what: str, total: float | None) -> None:
        """Starts the bar anew for another piece of work, of unknown length without a total."""
        self._bar.reset(self._task, description=what, total=total, visible=True)

    def advance(self, amount: float = 1) -> None:
        self._bar.advance(self._task, amount)

    def now(self, what: str) -> None:
        """Names what is being done within the same bar."""
        self._bar.update(self._task, description=what)

    def say(self, line: str) -> None:
        """A line that stays."""
        self.console.print(line, markup=False)
