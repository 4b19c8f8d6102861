"""CoDyRA: low-rank updates of gated components; gates shrink to zero while a task is learned, and only the rest is merged.

Lu et al., Continual Dynamic Rank-Selective LoRA, arXiv 2412.01004 (Findings of EMNLP 2026). For each task every adapted
matrix W (d_out, d_in) gets r components (rank-one terms), each with a gate:

    y = W x + b + B (w * (A x))        A (r, d_in) Kaiming-uniform, B (d_out, r) zero, gates w (r,) standard normal, all trained

The loss is the mean cross-entropy of images over the task's classes, plus one of classes over the batch's images: with
logits L (N images, C classes), T[c, n] = 1 where image n is of class c, otherwise 0, and C' the classes of all tasks so far,
this one's among them,

    - 1/C' sum over c, n of T[c, n] log softmax_n(L[:, c])

where the rows of T are not divided by their sums, so that a class weighs as many times as it has images in the batch. No
term of the loss makes gates small; a proximal step does, after each optimiser step of index t > T/2, of T steps from 0:

    w <- sign(w) max(|w| - kappa, 0), then w <- 0 where |w| < kappa
    kappa    of 50 evenly spaced values from 0 to `threshold` the next one at every t >= T/2 that is a multiple of
             floor((T - T/2) / 50), up to the last

After the task the components whose gate is zero are dropped and the others merged, W <- W + B diag(w) A; the next task
draws A, B and w anew. Nothing is stored between tasks. How many components each matrix has kept is in `components.csv`.

Fidelity, against the authors' code. Equal: the matrices (q, k, v, o, fc and proj of both towers), rank 16, no scale, no
dropout, both terms of the loss (there the texts of earlier classes are computed too: they are masked for images, and count
in the division by C' alone), AdamW's betas (0.9, 0.9999), the proximal step and its ramp, with `threshold` 0.005; the
recipes have that code's rate, batch, steps and schedule on X-TAIL. Different: merging is at once, where that code merges as
the next task starts, which is the same model. Tasks of fewer than 100 steps, in which that code drops nothing, take a value
of the ramp at each step. That code trains on open_clip's random crops of 0.9 to 1 of the area, as the recipes of MTIL and
X-TAIL do. How many steps MTIL takes is not published; the recipe has those of X-TAIL.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from strategies.about import SKY, About, Published
from strategies.clip.classifier import ClipClassifier
from strategies.clip.weight_matrices import WeightMatrix
from strategies.shared.fused_low_rank import Factors, Part
from strategies.shared.low_rank import LowRankUpdate, UpdatePlugin, kaiming
from strategies.shared.settings import Matrices, Towers


ABOUT = About(
    name="CoDyRA",
    reference="Lu et al., Findings of EMNLP 2026, arXiv 2412.01004",
    colour=SKY,
    marker="P",
    published={
        "CoDyRA": Published(
            {"rank": 16, "threshold": 0.005, "towers": "both", "matrices": ["q", "k", "v", "o", "fc", "proj"]},
            differs={"MTIL": "the number of steps on MTIL is not published"},
        )
    },
)

RAMP = 50  # values of kappa, from 0 to the threshold
BETAS = (0.9, 0.9999)  # of AdamW


@dataclass(frozen=True)
class Settings:
    """Settings of CoDyRA: the components of an update, how far their gates shrink, and the matrices that have one.

    The defaults are those of the authors' script.

    Attributes:
        rank: the number of components with which each matrix (d_out, d_in) starts a task, at most min(d_out, d_in).
        threshold: the largest kappa, by which every gate comes closer to zero in each of a task's last steps; 0 keeps
            all components.
        towers: which towers have updates: `image`, `text` or `both`.
        matrices: which matrices of each block have one: `q`, `k`, `v`, `o` of the attention and `fc`, `proj` of the
            MLP.
    """

    rank: int = Field(default=16, ge=1, description="components of each matrix's update at the start of a task")
    threshold: float = Field(
        default=0.005, ge=0, description="largest step towards zero of every gate, reached as a task ends"
    )
    towers: Towers = Field(default="both", description="which encoders are adapted")
    matrices: Matrices = Field(
        default=("q", "k", "v", "o", "fc", "proj"),
        description="which matrices of each block: attention q,k,v,o and the MLP's fc,proj",
    )


class GatedUpdate(LowRankUpdate):
    """The update dW = up @ diag(gates) @ down of a weight (d_out, d_in), which starts at 0; all three are trained.

    Args:
        down: (r, d_in), the initial value. `up` (d_out, r) starts at zero.
        gates: (r,), the initial value.
        outputs: d_out.
    """

    gates: nn.Parameter

    def __init__(self, down: Tensor, gates: Tensor, outputs: int) -> None:
        up = torch.zeros(outputs, len(down), device=down.device)  # (d_out, r)
        super().__init__(down, up, None, scale=1.0, dropout=0.0, trained=("down", "up"))
        self.gates = nn.Parameter(gates)

    def terms(self, first: int) -> list[tuple[Part, Factors]]:
        """Returns dW as one pair of a `Part` (rows, scale 1, no dropout) and its factors (down, None, up * gates).

        Args:
            first: the first of the weight's rows that the update covers; it covers d_out rows.
        """
        ((part, (down, _, up)),) = super().terms(first)
        return [(part, (down, None, up * self.gates))]

    def kept(self) -> Tensor:
        """Returns which components have a gate other than zero, (r,) bool."""
        return self.gates.detach() != 0

    def delta(self) -> Tensor:
        """Returns dW (d_out, d_in), made of the components that are kept."""
        kept = self.kept()
        return (self.up[:, kept] * self.gates[kept]) @ self.down[kept]

    @torch.no_grad()
    def shrink(self, kappa: float) -> None:
        """Brings every gate closer to zero by `kappa`, and to zero where it then is less than that away."""
        smaller = F.softshrink(self.gates, kappa)
        self.gates.copy_(torch.where(smaller.abs() < kappa, 0.0, smaller))


def kappa_of(step: int, steps: int, threshold: float) -> float:
    """Returns kappa, by how much the gates shrink after an optimiser step; 0 in the first half of a task.

    Args:
        step: the index of the step within the task, from 0.
        steps: T, the number of steps of the task.
        threshold: the last value of the ramp.
    """
    dense = steps / 2
    if step <= dense:
        return 0.0
    interval = max(1, int((steps - dense) // RAMP))
    passed = step // interval - (math.ceil(dense) - 1) // interval  # multiples of the interval in dense..step
    return threshold * min(passed, RAMP - 1) / (RAMP - 1)


def text_to_image(logits: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Returns the cross-entropy of classes over the batch's images, a scalar: the sum over classes, over their number C'.

    A class's target is 1 for each of its images, so that it counts as often as it has images, and not at all without one.

    Args:
        logits: (N, C), of N images over C classes.
        labels: (N,) int64, the class of each image.
        classes: C', the number of classes of all tasks so far; at least C.
    """
    targets = F.one_hot(labels, logits.shape[1]).T.to(logits.dtype)  # (C, N)
    return F.cross_entropy(logits.T, targets, reduction="sum") / classes


class Plugin(UpdatePlugin):
    """CoDyRA: trains gated components of an update of each chosen matrix, and merges those whose gate is not zero."""

    settings: Settings
    data_parallel = False  # a softmax over the images of a batch is no mean over images

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.components: dict[WeightMatrix, int] = {}

    def begin(self, classifier: ClipClassifier) -> None:
        """Begins a run in which no task has been learned.

        Args:
            classifier: not used.
        """
        self.components = {}

    def make_update(self, weight: Tensor) -> LowRankUpdate:
        """Returns the update of a weight, dW = up @ diag(gates) @ down, with r the smaller of `rank` and min(d_out, d_in).

        `down` (r, d_in) starts Kaiming-uniform, `up` (d_out, r) at zero, and `gates` (r,) standard normal; all are trained.

        Args:
            weight: (d_out, d_in), the weight to be updated.
        """
        down = kaiming(weight, self.settings)
        gates = torch.randn(len(down)).to(weight.device)  # on the CPU, for the same start on every device
        return GatedUpdate(down, gates, len(weight))

    def before_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if len(tasks := set(strategy.experience.task_labels)) > 1:
            raise ValueError(f"CoDyRA learns from one task at a time, got an experience of {len(tasks)}")
        for group in strategy.optimizer.param_groups:
            group["betas"] = BETAS

    def before_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        model: ClipClassifier = strategy.model
        classes = sum(model.class_counts[task] for task in model.known_train_tasks_labels)
        strategy.loss = strategy.loss + text_to_image(strategy.mb_output, strategy.mb_y, classes)

    def after_update(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        steps = len(strategy.dataloader) * strategy.train_epochs
        kappa = kappa_of(strategy.clock.train_exp_iterations, steps, self.settings.threshold)
        if kappa:
            for update in self._gated().values():
                update.shrink(kappa)

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        gated = self._gated()
        counts = torch.stack([update.kept().sum() for update in gated.values()]).tolist()  # read from the device once
        self.components = dict(zip(gated, counts, strict=True))
        if not any(counts):
            self.notes.append("all gates of all matrices are zero: nothing of the task is kept, the model is unchanged")
        super().after_training_exp(strategy, *args, **kwargs)

    def _gated(self) -> dict[WeightMatrix, GatedUpdate]:
        return {matrix: update for matrix, update in self.updates.items() if isinstance(update, GatedUpdate)}
