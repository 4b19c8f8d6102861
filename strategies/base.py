"""What a strategy's plugin is here: an Avalanche plugin that says what it trains and what it keeps between tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from avalanche.core import SupervisedPlugin
from torch import Tensor

from strategies.clip.classifier import ClipClassifier
from strategies.numerics.subspace import Decomposition, Decompositions
from strategies.training.pixels import Pixels


Reading = Literal["images", "texts"]


class Unfit(ValueError):
    """A setting that does not go with the model or the stream; names the setting, and what would do."""


@dataclass(frozen=True)
class Budget:
    """What a task is trained with: so many steps, and the peak learning rate."""

    steps: int
    lr: float


class StrategyPlugin(SupervisedPlugin):
    """Base of all strategies. A strategy overrides Avalanche's hooks, and these where it needs to.

    It works on any Avalanche strategy whose model is a `ClipClassifier`. Attributes:
        rho: energy share that the measurements of the spectra call principal.
        matrices: what those measurements look at, by name; for every method the attention's, so that curves compare.
        trains: whether training takes any time.
        data_parallel: whether several processes, each with its share of a batch and the mean of their gradients, train as one
            does: the loss is a mean over images, and nothing random is drawn for them but what `shared.fused_low_rank` draws.
        notes: lines for the terminal about the last task, for instance a matrix that was skipped.
        decomposition_seconds: what the decompositions that the method used so far took, whoever made them.
        ready_seconds: of these, what it found ready, made by the measurements.
        decompositions: of the weights; the harness sets those that its measurements have made.
        files: that the settings name and the figures depend on; a run goes on only with the same ones.
        reads: what the method reads besides the task's data; the harness sets `reference_images` (N images) and
            `reference_texts` (M, L tokens) of it before `begin`.
    """

    rho = 0.95  # the paper's
    matrices: tuple[str, ...] = ("q", "k", "v", "o")
    trains = True
    data_parallel = False
    files: tuple[Path, ...] = ()
    reads: tuple[Reading, ...] = ()
    reference_images: Pixels | None = None
    reference_texts: Tensor | None = None

    def __init__(self, settings: Any) -> None:
        super().__init__()
        self.settings = settings
        self.supports_distributed = self.data_parallel  # Avalanche's name for it
        self.notes: list[str] = []
        self.decomposition_seconds = self.ready_seconds = 0.0
        self.decompositions = Decompositions(keep=False)

    def decompose(self, weight: Tensor) -> Decomposition:
        """Of a weight (d_out, d_in), on its device; made only where nobody has."""
        made, ready = self.decompositions.of(weight)
        self.decomposition_seconds += made.seconds
        self.ready_seconds += made.seconds if ready else 0.0
        return Decomposition(*(factor.to(weight.device) for factor in made.decomposition))

    def begin(self, classifier: ClipClassifier) -> None:
        """Called once with the untrained model, before any task, and also before a run goes on: see `state_dict`.

        Raises:
            Unfit: a setting does not go with the model or the number of tasks.
        """

    def plugins(self) -> list[SupervisedPlugin]:
        """What an Avalanche strategy is given for this method, after `begin`, in the order in which they are told of events."""
        return [self]

    def budgets(self, budgets: Sequence[Budget], lr: float) -> list[Budget]:
        """What each task is trained with, from what the settings say. Asked once, before any task.

        Args:
            budgets: (T,) by the settings.
            lr: the rate for tasks that the settings do not name.
        """
        return list(budgets)

    def state_dict(self) -> dict[str, Tensor]:
        """What is carried from task to task besides the model. Its bytes are counted, and it survives a resume."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes back what `state_dict` gave."""


class FullPlugin(StrategyPlugin):
    """Trains every parameter of both towers, except the logit scale."""

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        strategy.model.clip.requires_grad_(True)
        strategy.model.clip.logit_scale.requires_grad_(False)
