"""The interface of callbacks, which are notified of a run's events, and of measurements, which also fill a table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor

from benchmarks.runs.columns import Column
from benchmarks.runs.ledger import Ledger
from strategies.base import StrategyPlugin
from strategies.clip.classifier import ClipClassifier


if TYPE_CHECKING:
    from benchmarks.experiment.backbones.loading import Backbone
    from benchmarks.experiment.probes.base import Prepared
    from benchmarks.images.opener import Opener
    from strategies.training.experiences import LabelledImages


@dataclass(frozen=True)
class Given:
    """What a run begins with, for measurements that need more than its state.

    Attributes:
        model: the classifier, on its device, with the weights before any training and nothing of the method's in it.
        strategy: the method's plugin, which has not begun.
        backbone: the model's tokenizer and image size, and its name as `about["model"]`.
        opener: decodes images at that size.
        train: the training images and labels of each task, in learning order.
        probes: the probes that `--probe` names.
    """

    model: ClipClassifier
    strategy: StrategyPlugin
    backbone: "Backbone"
    opener: "Opener"
    train: "Sequence[LabelledImages]"
    probes: "Sequence[Prepared]"


@dataclass
class RunState:
    """The current state of a run. Every event gets the same object, which the training loop updates.

    Attributes:
        folder: the run folder. A callback that writes files there must choose names that do not exist yet.
        settings: every setting by its name on the command line, as in `config.yaml`.
        tasks: the names of the T tasks, in learning order.
        model: the classifier; `model.clip` is the open_clip model, which between tasks has all updates merged and no
            adapters.
        strategy: the method's plugin.
        learned: number of tasks learned so far, 0 to T.
        task: index of the task that is being learned, 0 to T - 1; None between tasks.
        step: index of the training step within the task, from 0.
        steps: number of training steps of the task.
        loss: scalar loss of the last step, on the model's device, the mean over all processes; None before the first.
            Reading its value synchronises a GPU.
        cross_entropy: scalar cross-entropy of the last step's batch, the part of `loss` that no method adds to; likewise.
        lr: the learning rate with which the last step was taken.
        accuracy: after an evaluation, the task-aware top-1 accuracy on each of the T tasks in percent, in learning
            order; empty before.
        resumed: whether the run was resumed from a checkpoint.
        is_first: whether this process writes the run folder (under torchrun, True in one process only).
        cost: the cost ledger so far: times in seconds, memory and storage in bytes, numbers of trained parameters.
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
    cross_entropy: Tensor | None = None
    lr: float = 0.0
    accuracy: list[float] = field(default_factory=list)
    resumed: bool = False
    is_first: bool = True
    cost: Ledger = field(default_factory=Ledger)


class Callback:
    """Is notified of the events of a run. Override the methods that you need; by default all of them do nothing.

    Each method gets `run`, the state of the run. In a run of several processes (torchrun) every process has its own
    callbacks; see `RunState.is_first`.

    Attributes:
        optional: whether the run continues without this callback when it fails. By default a failure stops the run with
            one line that names the callback and the event; finished tasks are kept, and the same command resumes the
            run.
    """

    optional: bool = False

    def on_run_begin(self, run: RunState) -> None:
        """Called once, before the first evaluation, or before a run is resumed (then `run.resumed` is True)."""

    def on_task_begin(self, run: RunState) -> None:
        """Called before a task is learned; `run.task` and `run.steps` are set."""

    def on_step_begin(self, run: RunState) -> None:
        """Called before every training step, so it should be fast; `run.step` is set."""

    def on_step_end(self, run: RunState) -> None:
        """Called after every training step, so it should be fast; `run.step` and `run.loss` are set."""

    def on_task_end(self, run: RunState) -> None:
        """Called after a task was learned and its update merged, before the evaluation.

        `run.task` still has the task's index, and `run.learned` counts it already.
        """

    def on_evaluation_end(self, run: RunState) -> None:
        """Called after the model was tested on all tasks, also before any training.

        `run.learned` is the number of tasks learned, and `run.accuracy` has the task-aware accuracies in percent.
        """

    def on_saved(self, run: RunState) -> None:
        """Called after a state's tables and checkpoint have been written to the run folder."""

    def on_run_end(self, run: RunState) -> None:
        """Called once, after the last task has been evaluated and the merged model written."""


Cadence = Literal["state", "ends", "step"]


class Measurement(Callback):
    """A callback that fills a table of the run folder: `measure` returns rows, which are written to `TABLE.csv`.

    The rows are saved together with the accuracies of the same task, so they survive an interruption.
    `Run.table(TABLE)` reads them.

    Attributes:
        table: the csv's name without its ending. Several measurements may fill one table; rows with equal keys are
            joined.
        keys: names of the columns that identify a row of the table.
        columns: the columns that this measurement fills; the first measurement of a table includes the keys.
        cadence: when `measure` is called: `state` after every evaluation, `ends` before any training and after the last
            task, `step` after every training step.
        by_default: whether it is taken in every run of a method that it `fits`, or only where `--measure` or
            `nb.run(callbacks=...)` names it.
        option: the option of the command that takes it, where it is not taken by default.
        turn: measurements are called in rising order of this number.
        number_format: printf format of floats in the csv, such as `"%.6g"`; None for full precision.
    """

    table: ClassVar[str]
    keys: ClassVar[tuple[str, ...]]
    columns: ClassVar[tuple[Column, ...]]
    cadence: ClassVar[Cadence] = "state"
    by_default: ClassVar[bool] = True
    option: ClassVar[str] = "--measure"
    turn: ClassVar[int] = 0
    number_format: ClassVar[str | None] = None

    def prepare(self, given: Given) -> None:
        """Called once before the run begins, or is resumed or extended, each time with the untrained model.

        What is computed of that model here is there again after an interruption. It must leave the model as it is. By
        default it does nothing.

        Args:
            given: what the run begins with.

        Raises:
            UserError: the run lacks what the measurement needs; the run folder has not been made then.
        """

    def measure(self, run: RunState) -> Iterable[Mapping[str, Any]]:
        """Returns the rows that are to be added to the table now.

        Each row is a mapping from the names of the table's `keys` and of this measurement's `columns` to plain Python
        values of the declared kinds. None stands for an undefined value, an empty field of the csv; a key has a value
        in every row.

        Args:
            run: the state of the run.

        Raises:
            NotImplementedError: the subclass does not define it.
        """
        raise NotImplementedError

    @classmethod
    def fits(cls, strategy: StrategyPlugin) -> bool:
        """Returns whether a method has what is measured; where it has not, the measurement is not taken by default.

        Args:
            strategy: the method's plugin, before the run.
        """
        return True

    @classmethod
    def due(cls, run: RunState) -> bool:
        """Returns whether `measure` is to be called after the evaluation just done; always False for the cadence `step`.

        Args:
            run: the state of the run; its `learned` says which evaluation it was.
        """
        return cls.cadence == "state" or (cls.cadence == "ends" and run.learned in (0, len(run.tasks)))
