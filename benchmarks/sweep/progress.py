"""A run of a sweep in a worker's process: its threads, and the callback that reports how far it is."""

import time
from collections.abc import Callable

import torch

from benchmarks.experiment import door
from benchmarks.experiment.backbones.kept import KEPT
from benchmarks.experiment.measurements.base import Callback, RunState
from benchmarks.experiment.request import Request
from benchmarks.images import opener
from benchmarks.runtime.progress import MOVED
from benchmarks.sweep.outcomes import Progress


EVERY = 1.0  # seconds


class ProgressCallback(Callback):
    """Reports the progress of a run, at most once a second within a task, and ends the run if it is told so, but not
    between a task's last step and the moment when its results are saved.

    Args:
        tell: is given the progress; returns whether the run is to end.
        save: called before each task, when the files of those before it are complete.
    """

    def __init__(self, tell: Callable[[Progress], bool], save: Callable[[], None]) -> None:
        self._tell, self._save, self._last = tell, save, 0.0
        self._progress = Progress(0, 0)

    def on_run_begin(self, run: RunState) -> None:
        self._go_on(run)

    def on_task_begin(self, run: RunState) -> None:
        self._save()
        self._go_on(run)

    def on_step_end(self, run: RunState) -> None:
        if time.monotonic() - self._last >= EVERY:
            self._go_on(run)

    def on_task_end(self, run: RunState) -> None:
        self._report(run)

    def moved(self) -> None:
        """Says that the run is alive, while images are decoded or evaluated; it is not ended there."""
        if time.monotonic() - self._last >= EVERY:
            self._say()

    def _go_on(self, run: RunState) -> None:
        if self._report(run):
            raise KeyboardInterrupt

    def _report(self, run: RunState) -> bool:
        step, steps = (0, 0) if run.task is None else (run.step, run.steps)
        learned = run.learned if run.task is None else run.task
        self._progress = Progress(learned, len(run.tasks), step, steps)
        return self._say()

    def _say(self) -> bool:
        stop = self._tell(self._progress)
        self._last = time.monotonic()
        return stop


def complete(
    asked: Request, threads: int, tell: Callable[[Progress], bool], save: Callable[[], None], *, plots: bool
) -> None:
    """Does a run, or goes on with one.

    Args:
        asked: the run.
        threads: number of threads that torch uses.
        tell: is given the progress; returns whether the run is to end.
        save: called before each task, when the files of those before it are complete.
        plots: whether the run's `plots/` is drawn at its end.

    Raises:
        UserError: whatever stops the run.
        KeyboardInterrupt: `tell` returned True.
    """
    torch.set_num_threads(threads)
    KEPT.wanted = opener.KEPT.wanted = True
    told = ProgressCallback(tell, save)
    listening = MOVED.set(told.moved)
    try:
        door.complete(asked, [told], plots=plots)
    finally:
        MOVED.reset(listening)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # other runs on the device have a use for it
