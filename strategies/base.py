"""The base of all strategies: an Avalanche plugin that also says what it trains and what it stores between tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from avalanche.core import SupervisedPlugin
from torch import Tensor

from strategies.clip.classifier import ClipClassifier
from strategies.clip.weight_matrices import WeightMatrix
from strategies.numerics.subspace import Decomposition, Decompositions
from strategies.training.pixels import Pixels


Reading = Literal["images", "texts"]  # the auxiliary data that a method may ask for


ALL = "all parameters"  # in place of a setting's name
TRAINED = 4  # times the bytes of a trained parameter: itself, its gradient and AdamW's two moments


class Unfit(ValueError):
    """Error for a setting that does not fit the model or the stream; it names the setting and what would fit."""


@dataclass(frozen=True)
class Budget:
    """The training budget of one task.

    Attributes:
        steps: the number of optimiser steps; 0 for no training.
        lr: the peak learning rate of the optimiser.
    """

    steps: int
    lr: float


class StrategyPlugin(SupervisedPlugin):
    """Base class of all strategies: a subclass overrides Avalanche's hooks and, where needed, the methods below.

    A strategy works under any Avalanche strategy whose model is a `ClipClassifier`, CLIP as a classifier over prompts.

    Args:
        settings: an instance of the `Settings` class in the method's file.

    Attributes:
        rho: the share of a weight's energy (its sum of squared singular values) that the measurements call principal,
            in 0..1; 0.95 as in the NuSA-CL paper.
        matrices: names of the weight matrices whose spectra are measured: `q`, `k`, `v`, `o`, `fc`, `proj`. Every
            method has the attention's (the first four), so that the methods can be compared.
        trains: whether the method trains anything. Where it does not, the model is evaluated again only if its weights, or
            what the method stores, have changed.
        data_parallel: whether several processes, which each compute a part of every batch and average their gradients,
            train as one process would. This needs a loss that is a mean over images, and no random draw for them, apart
            from the dropout of low-rank updates (`strategies/shared/fused_low_rank.py`).
        settings: the settings given.
        notes: messages for the terminal about the last task, for instance that a matrix was skipped.
        decomposition_seconds: seconds, over all tasks so far, of the decompositions that the method used. One that was
            found in the cache counts with the seconds that it took when it was made.
        ready_seconds: the part of `decomposition_seconds` that belongs to decompositions found in the cache.
        decompositions: the cache of the weights' SVDs. At first it keeps nothing; `benchmarks.run` replaces it by one
            that also the measurements fill.
        files: paths of files that the settings name and on which the results depend. A run resumes only with unchanged
            files.
        fitted: how many values the last task has fitted without an optimiser, in closed form; they count as trained parameters.
        components: where the method drops components (rank-one terms) of its updates, how many the last task's update of
            each matrix has kept; empty before the first task. None for a method that drops none.
        reads: the auxiliary data that the method needs, any of `images` and `texts`; `benchmarks.run` sets the next two
            attributes accordingly before `begin`.
        reference_images: the N auxiliary images, (3, S, S) uint8 each, or None if the method reads none.
        reference_texts: the tokens (M, L) int64 of the M auxiliary texts, or None if the method reads none.
    """

    rho = 0.95
    matrices: tuple[str, ...] = ("q", "k", "v", "o")
    trains = True
    data_parallel = False
    files: tuple[Path, ...] = ()
    fitted: int = 0
    components: Mapping[WeightMatrix, int] | None = None
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
        """Returns the thin SVD (u, s, vh) of a weight, on the weight's device, from the cache where it is there.

        Adds the seconds that the SVD took to `decomposition_seconds` and, if it was cached, also to `ready_seconds`.

        Args:
            weight: (d_out, d_in).
        """
        made, ready = self.decompositions.of(weight)
        self.decomposition_seconds += made.seconds
        self.ready_seconds += made.seconds if ready else 0.0
        return Decomposition(*(factor.to(weight.device) for factor in made.decomposition))

    def begin(self, classifier: ClipClassifier) -> None:
        """Prepares the method for a run. Called once with the untrained model, before any task.

        A resumed run calls it too, before `load_state_dict`.

        Args:
            classifier: the model of the run, on its device; it has the prompts of all tasks.

        Raises:
            Unfit: a setting does not fit the model or the number of tasks.
        """

    def least_bytes(self, classifier: ClipClassifier) -> dict[str, int]:
        """Returns the bytes that parts of the method take at least, by the names of whole-numbered settings with which they
        grow; for what grows with the model alone by the name `ALL`.

        Parts that memory cannot hold are refused before they are made, with a line that names the setting. By default
        there are none. Called before `begin`.

        Args:
            classifier: the model of the run, on its device.
        """
        return {}

    def bytes_of_images(self, classifier: ClipClassifier, count: int) -> int:
        """Returns the bytes that the method takes at least once it has learned from so many training images; by default 0.

        For parts that grow with the images: a run that memory cannot hold is refused before it begins.

        Args:
            classifier: the model of the run, on its device.
            count: the number of training images of all tasks.
        """
        return 0

    def plugins(self) -> list[SupervisedPlugin]:
        """Returns the Avalanche plugins that make up this method, in the order in which Avalanche is to call them.

        By default it is this plugin alone. To be called after `begin`.
        """
        return [self]

    def budgets(self, budgets: Sequence[Budget], lr: float) -> list[Budget]:
        """Returns the training budget of each of the T tasks, in learning order; by default the given `budgets`.

        Called once, before any task. A method overrides it to train other numbers of steps, as joint training does.

        Args:
            budgets: the T budgets that the settings give, in learning order.
            lr: the peak learning rate of a task for which the settings name none.
        """
        return list(budgets)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the tensors that the method stores between tasks besides the model, by names that the method chooses.

        By default there are none. Their bytes count as the method's storage. A resumed run gives them to
        `load_state_dict`.
        """
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what the method stores between tasks; called when a run is resumed, after `begin`.

        Args:
            state: the tensors by name, as `state_dict` returned them.
        """


class FullPlugin(StrategyPlugin):
    """Base of methods that train every parameter of both towers, except the logit scale.

    Before each task it makes exactly these parameters require a gradient.
    """

    def least_bytes(self, classifier: ClipClassifier) -> dict[str, int]:
        """Returns the bytes of all gradients and of AdamW's two moments, under the name `ALL`.

        Args:
            classifier: the model of the run.
        """
        weights = sum(parameter.nbytes for parameter in classifier.clip.parameters())
        return {ALL: (TRAINED - 1) * weights}

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        strategy.model.clip.requires_grad_(True)
        strategy.model.clip.logit_scale.requires_grad_(False)
