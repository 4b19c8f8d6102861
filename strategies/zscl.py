"""ZSCL: the initial CLIP teaches on auxiliary images and texts, weights are averaged and held near the task's start.

Zheng et al., Preventing Zero-Shot Transfer Degradation in Continual Learning of Vision-Language Models, arXiv
2303.06628 (ICCV 2023). All parameters W except the logit scale learn from

    cross-entropy + w * distill(S, T) + w * distill(S^T, T^T) + l2 * sum (W - W_start)^2

with S and T from `strategies.shared.distillation`. The teacher is the **initial** CLIP in every task, the auxiliary
images are ImageNet's, and the auxiliary texts are captions (Conceptual Captions, validation). W_start is the model at
the start of the task. After the steps 0, I, 2I, ... the weights go into a mean in which W_start and every snapshot
count alike; the task ends with this mean as its weights. ZSCL* of the paper is `--l2 0`.

Fidelity, against the authors' MTIL code. Equal: both distillation terms, T = 2, weights 1, all captions at each step,
interval I = 100 with the start counted. Their loop makes one step more, with learning rate 0, whose snapshot is the
final weights; here that snapshot is counted where I divides the number of steps. The captions' features are computed
once instead of at each step, which is exact, since the teacher is frozen. The auxiliary images are drawn from at most
`pool` images of the folder, 100 000 as in the paper (the script reads all of ImageNet); their order is a function of
seed and task. Their captions are those whose image could be downloaded. Batches run across epochs here, where that code
ends an epoch with a short one.

In its class-incremental code the auxiliary images are Conceptual Captions' validation images, both distillation terms
have weight 5, and there is no L2 term.
"""

from typing import Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import GREEN, About, Published
from strategies.clip.classifier import ClipClassifier
from strategies.shared.distillation import DistillationPlugin, frozen_copy
from strategies.shared.settings import DistillationSettings, ReferenceSettings


ABOUT = About(
    name="ZSCL",
    reference="Zheng et al., ICCV 2023, arXiv 2303.06628",
    colour=GREEN,
    marker="^",
    published={
        "ZSCL": Published(
            {"l2": 1.0},
            differs={
                "MTIL 5-shot": "re-run by others, with settings that are not known",
                "CIL": "its auxiliary images there are Conceptual Captions' validation images",
            },
        ),
        "ZSCL* (no L2 term)": Published({"l2": 0.0}),
    },
)


@dataclass(frozen=True)
class Settings(ReferenceSettings, DistillationSettings):
    """Settings of ZSCL: its distillation on auxiliary images, the pull to the task's start, and the weight average.

    The defaults are those of the authors' MTIL scripts. `temperature` and `distillation` are as in
    `DistillationSettings`, `pool` (largest number of auxiliary images) as in `ReferenceSettings`.

    Attributes:
        l2: the factor on sum (W - W_start)^2 in the loss, with W_start the weights at the start of the task; 0 is
            ZSCL*.
        interval: the number of steps between the snapshots of the weights whose mean is the result of a task.
    """

    l2: float = Field(default=1.0, ge=0, description="weight of the squared distance to the task's start; 0 is ZSCL*")
    interval: int = Field(
        default=100,
        ge=1,
        description="steps between the snapshots that are averaged",
        json_schema_extra={"unit": "steps"},
    )


class WeightMean:
    """The running mean of a model's parameters over snapshots; the first snapshot is taken at the start.

    Args:
        parameters: the parameters, with the values of the first snapshot; they are copied.

    Attributes:
        mean: the mean of each parameter, in the order given.
        count: the number of snapshots so far.
    """

    def __init__(self, parameters: list[Tensor]) -> None:
        self.mean, self.count = [parameter.detach().clone() for parameter in parameters], 1

    @torch.no_grad()
    def add(self, parameters: list[Tensor]) -> None:
        """Adds one snapshot to the mean.

        Args:
            parameters: the same parameters as at the start, in the same order, with their present values.
        """
        self.count += 1
        torch._foreach_lerp_(self.mean, parameters, 1 / self.count)


@torch.no_grad()
def add_l2_gradient(parameters: list[Tensor], starts: list[Tensor], l2: float) -> None:
    """Adds the gradient of l2 * sum (W - W_start)^2, which is 2 * l2 * (W - W_start), to the gradients of parameters W.

    It is computed by hand, since autograd would keep W - W_start of all parameters until the backward pass, as much
    memory as another model.

    Args:
        parameters: the parameters W; those without a gradient are left out.
        starts: W_start, the value of each parameter at the start of the task, in the same order.
        l2: the weight of the squared distance in the loss.
    """
    for parameter, start in zip(parameters, starts, strict=True):
        if parameter.grad is not None:
            parameter.grad.add_(parameter - start, alpha=2 * l2)


class Plugin(DistillationPlugin):
    """ZSCL: fine-tunes all parameters, with distillation from the initial CLIP on auxiliary images and texts.

    The weights are held near those at the start of the task, and the task ends with the mean of several snapshots of
    them.
    """

    settings: Settings
    reads = ("images", "texts")

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._initial: ClipClassifier | None = None  # until `begin`
        self._captions: Tensor | None = None  # (N, D)

    def begin(self, classifier: ClipClassifier) -> None:
        """Makes the teacher of all tasks: a frozen copy of the initial model.

        Args:
            classifier: the model of the run, before any training.
        """
        self._initial, self._captions = frozen_copy(classifier), None

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the state dict of the teacher's open_clip model; empty before `begin`.

        The captions' features are not stored, since they can be computed again from it.
        """
        return {} if self._initial is None else dict(self._initial.clip.state_dict())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores the teacher's weights. `begin` is to be called before.

        Args:
            state: what `state_dict` returned: the state dict of the teacher's open_clip model.
        """
        assert self._initial is not None, "begin comes before"
        self._initial.clip.load_state_dict(state)

    def make_teacher(self, strategy: Any) -> ClipClassifier | None:
        """Returns the teacher: the initial CLIP, in every task. `strategy` is not used."""
        return self._initial

    def reference_tokens(self, strategy: Any) -> Tensor:
        """Returns the tokens (N, L) int64 of the auxiliary captions. `strategy` is not used."""
        assert self.reference_texts is not None, "the harness gives what `reads` names"
        return self.reference_texts

    def reference_data(self, strategy: Any) -> Any:
        """Returns the auxiliary images, (3, S, S) uint8 each. `strategy` is not used."""
        return self.reference_images

    def make_texts(self, strategy: Any, teacher: ClipClassifier) -> Tensor:
        """Returns the teacher's unit-length features (N, D) of the auxiliary captions.

        They are computed once in a run, since the teacher is frozen.

        Args:
            strategy: not used.
            teacher: the initial CLIP.
        """
        if self._captions is None:
            self._captions = super().make_texts(strategy, teacher)
        return self._captions

    def before_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        super().before_training_exp(strategy)
        self._trained = [parameter for parameter in strategy.model.clip.parameters() if parameter.requires_grad]
        self._start = [parameter.detach().clone() for parameter in self._trained]
        self._mean = WeightMean(self._trained)

    def after_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if self.settings.l2:
            add_l2_gradient(self._trained, self._start, self.settings.l2)

    def after_update(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if strategy.clock.train_exp_iterations % self.settings.interval == 0:
            self._mean.add(self._trained)

    @torch.no_grad()
    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        super().after_training_exp(strategy)
        if strategy.clock.train_exp_iterations % self.settings.interval == 0:
            self._mean.add(self._trained)
        torch._foreach_copy_(self._trained, self._mean.mean)
        del self._start, self._mean, self._trained
