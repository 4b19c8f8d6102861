"""The base of all strategies: an Avalanche plugin that also says what it trains and what it stores between tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from avalanche.core import SupervisedPlugin
from torch import Tensor

from strategies.clip.classifier import ClipClassifier
from strategies.numerics.subspace import Decomposition, Decompositions
from strategies.training.pixels import Pixels


Reading = Literal["images", "texts"]  # the auxiliary data that a method may ask for


class Unfit(ValueError):
    """Error for a setting that does not fit the model or the stream; it names the setting and what would fit."""


@dataclass(frozen=True)
class Budget:
    """The training budget of one task: the number of optimiser steps, and the peak learning rate."""

    steps: int
    lr: float


class StrategyPlugin(SupervisedPlugin):
    """Base class of all strategies: a subclass overrides Avalanche's hooks and, where needed, the methods below.

    A strategy works under any Avalanche strategy whose model is a `ClipClassifier`.

    Args:
        settings: an instance of the `Settings` class in the method's file.

    Attributes:
        rho: the share of a spectrum's energy that the measurements call principal; 0.95 as in the NuSA-CL paper.
        matrices: names of the weight matrices whose spectra are measured. Every method has the attention's, so that the
            methods can be compared.
        trains: whether the method trains anything.
        data_parallel: whether several processes, which each compute a part of every batch and average their gradients,
            train as one process would. This needs a loss that is a mean over images, and no random draw for them, apart
            from the dropout of `shared.fused_low_rank`.
        notes: messages for the terminal about the last task, for instance that a matrix was skipped.
        decomposition_seconds: time, in total, of the decompositions that the method used, also of those that it found
            cached.
        ready_seconds: the part of `decomposition_seconds` that belongs to decompositions found in the cache.
        decompositions: the cache of the weights' SVDs. The harness replaces it by the one that its measurements fill.
        files: files named by the settings on which the results depend. A run resumes only with unchanged files.
        reads: the auxiliary data that the method needs, `images` or `texts`; the harness sets them before `begin`.
        reference_images: the auxiliary images, N of them, or None.
        reference_texts: the tokens (M, L) of the auxiliary texts, or None.
    """

    rho = 0.95
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
        self.supports_distributed = self.data_parallel  # Avalanche's name for the same thing
        self.notes: list[str] = []
        self.decomposition_seconds = self.ready_seconds = 0.0
        self.decompositions = Decompositions(keep=False)

    def decompose(self, weight: Tensor) -> Decomposition:
        """Returns the SVD of a weight (d_out, d_in) on the weight's device, from the cache where it is there.

        Adds its time to `decomposition_seconds` and, if it was cached, to `ready_seconds`.
        """
        made, ready = self.decompositions.of(weight)
        self.decomposition_seconds += made.seconds
        self.ready_seconds += made.seconds if ready else 0.0
        return Decomposition(*(factor.to(weight.device) for factor in made.decomposition))

    def begin(self, classifier: ClipClassifier) -> None:
        """Prepares the method for a run. Called once with the untrained model, before any task.

        A resumed run calls it too, before `load_state_dict`.

        Raises:
            Unfit: a setting does not fit the model or the number of tasks.
        """

    def plugins(self) -> list[SupervisedPlugin]:
        """Returns the plugins that make up this method, in the order in which Avalanche is to call them.

        To be called after `begin`.
        """
        return [self]

    def budgets(self, budgets: Sequence[Budget], lr: float) -> list[Budget]:
        """Returns the training budget of each task (T,), given the budgets by the settings.

        Called once, before any task.

        Args:
            budgets: (T,), the budgets by the settings.
            lr: the learning rate of a task for which the settings name none.
        """
        return list(budgets)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns what the method stores between tasks besides the model, by name.

        Its bytes count as the method's storage, and a resumed run restores it.
        """
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""


class FullPlugin(StrategyPlugin):
    """Base of methods that train every parameter of both towers, except the logit scale."""

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        strategy.model.clip.requires_grad_(True)
        strategy.model.clip.logit_scale.requires_grad_(False)
