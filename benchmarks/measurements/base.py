"""Whoever is told of what happens in a run: callbacks, and measurements, which are callbacks that fill a table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor

from benchmarks.runs.columns import Column
from benchmarks.runs.ledger import Ledger
from strategies.base import StrategyPlugin
from strategies.clip.classifier import ClipClassifier


@dataclass
class RunState:
    """Where a run is; the same object at every event, kept up to date by the loop.

    Attributes:
        folder: the run folder. Whoever writes files of their own there gives them names of their own.
        settings: every setting by its name on the command line, as in `config.yaml`.
        tasks: the T names, in the order in which they are learned.
        model: the classifier; `model.clip` is the open_clip model, between tasks plain and merged.
        strategy: the method's plugin.
        learned: number of tasks learned so far, 0 to T: the state of the model.
        task: index of the task that is being learned, 0 to T - 1; None between tasks.
        step: index of the training step within the task, from 0.
        steps: number of steps that the task is trained for.
        loss: of the last step, a number on the model's device; None before the first. Reading it makes a GPU wait.
        accuracy: after an evaluation, for each task the accuracy in percent with the task known; empty before.
        resumed: whether the run goes on from a checkpoint.
        is_first: whether this process writes the run folder (False in all but one where torchrun starts several).
        cost: the cost ledger so far.
    """

    folder: Path
    settings: Mapping[str, Any]
    tasks: tuple[str, ...]
    model: ClipClassifier
    strategy: StrategyPlugin
    learned: int = 0
    task: int | None = None
    step: int = 0
    steps: int = 0
    loss: Tensor | None = None
    accuracy: list[float] = field(default_factory=list)
    resumed: bool = False
    is_first: bool = True
    cost: Ledger = field(default_factory=Ledger)


class Callback:
    """Told of the events of a run. Override the methods that you need; all of them do nothing here.

    In a run of several processes (torchrun) every process has its own callbacks; see `RunState.is_first`.

    Attributes:
        optional: whether the run goes on without this callback when it fails. By default a failure stops the run with one
            line that names the callback and the event; what was finished before is kept, and the same command goes on.
    """

    optional: bool = False

    def on_run_begin(self, run: RunState) -> None:
        """Once, before the first evaluation, or before the run goes on (`run.resumed`)."""

    def on_task_begin(self, run: RunState) -> None:
        """Before a task is learned: `run.task`, `run.steps`."""

    def on_step_begin(self, run: RunState) -> None:
        """Before a training step: `run.step`. Called often, so it should be quick."""

    def on_step_end(self, run: RunState) -> None:
        """After a training step: `run.step`, `run.loss`. Called often, so it should be quick."""

    def on_task_end(self, run: RunState) -> None:
        """After a task was learned and its update merged, before the evaluation."""

    def on_evaluation_end(self, run: RunState) -> None:
        """After the model was tested on all tasks, also before any training: `run.learned`, `run.accuracy`."""

    def on_run_end(self, run: RunState) -> None:
        """Once, after the last task has been evaluated and the merged model written."""


Cadence = Literal["state", "ends", "step"]


class Measurement(Callback):
    """A callback that fills a table of the run folder: `measure` gives rows, the harness writes them to `TABLE.csv`.

    The rows are written with the state they belong to, so they survive an interruption, and are in `Run.table(TABLE)`.

    Attributes:
        table: the csv's name without its ending; several measurements may fill one table, row by row, told by `keys`.
        keys: columns that tell a row of the table from the others.
        columns: those that this measurement fills, keys included for the first measurement of a table.
        cadence: when `measure` is asked: `state` after every evaluation, `ends` before any training and after the last
            task, `step` after every training step.
        by_default: whether it is taken in every run, or only where `--measure` or `nb.run(callbacks=...)` names it.
        turn: measurements are asked in rising order of this number.
        number_format: of floats in the csv, as in `"%.6g"`; None for full precision.
    """

    table: ClassVar[str]
    keys: ClassVar[tuple[str, ...]]
    columns: ClassVar[tuple[Column, ...]]
    cadence: ClassVar[Cadence] = "state"
    by_default: ClassVar[bool] = True
    turn: ClassVar[int] = 0
    number_format: ClassVar[str | None] = None

    def measure(self, run: RunState) -> Iterable[Mapping[str, Any]]:
        """Rows by column name; None for what is undefined."""
        raise NotImplementedError

    @classmethod
    def due(cls, run: RunState) -> bool:
        """Whether an evaluated state is one that the cadence asks for."""
        return cls.cadence == "state" or (cls.cadence == "ends" and run.learned in (0, len(run.tasks)))
