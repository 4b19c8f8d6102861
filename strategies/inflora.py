"""InfLoRA: a low-rank update where the task's inputs lie and those of earlier tasks do not; merged after each task.

Liang and Li, InfLoRA, arXiv 2404.00228 (CVPR 2024), as adapted to CLIP in the NuSA-CL paper's comparison:

    dW = alpha / sqrt(rank) * B A        A (r, d_in) frozen, B (d_out, r) trained from zero.

Before a task, its training images and prompts (first template) pass once through the model. For each block they give
the attention's inputs H (all tokens, d) and their covariance C = H^T H. What the block's memory M holds is removed from
C, and

    for k and v     A = first r = min(rank, free directions) left singular vectors of C - M M^T C, as rows, over sqrt(3)
    for others      A = Kaiming-uniform, frozen too (the adaptation's q and o; here also fc and proj)

After the task W <- W + dW. C is gathered once more: over all steps of the training, and over one more pass at its end,
before merging, with the dropout of training. By this C the memory grows by the rule in
`strategies/numerics/gradient_memory.py`, to the share `threshold`. The memories (d, b <= d / 2), one for each block, are
stored between tasks. The method of the paper itself, without q and o, is `--matrices k,v`.

Fidelity, against the NuSA-CL paper's comparison as public descriptions of its code have it. Equal: q and o, rank 128,
scaling, dropout, uncentred covariance over all positions of images and prompts, padding included (so prompts are not
cut while this method trains), one memory for k and v, 1 / sqrt(3), A frozen, the passes before and after a task, the
memory's rule on the squares of C's singular values, threshold 0.95 for every task (InfLoRA's own rises from task to
task towards 1).

Different: where fewer free directions than the rank are left, A has no more rows than these (that code fills all rows,
with directions that the memory holds). The pass after a task computes the prompts once, and counts them as often as it
has batches, where that code computes them with each batch; only dropout's draws differ. `samples` can make the passes
shorter. The memory is stored as the smaller of the space and its complement.
"""

import math
import time
from typing import Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import PURPLE, About, Published
from strategies.clip.classifier import ClipClassifier
from strategies.clip.prompts import length
from strategies.clip.weight_matrices import TOWERS, WeightMatrix
from strategies.numerics.data_parallel import WHOLE
from strategies.numerics.gradient_memory import GradientMemory, empty
from strategies.shared.input_covariance import InputCovariance, block_name
from strategies.shared.low_rank import LowRankPlugin, LowRankUpdate, detach, from_zero, kaiming
from strategies.shared.settings import LowRankSettings
from strategies.training.loader import sample


ABOUT = About(
    name="InfLoRA",
    reference="Liang and Li, CVPR 2024, arXiv 2404.00228",
    colour=PURPLE,
    marker="v",
    published={
        "InfLoRA (NuSA re-impl.)": Published({"rank": 128}),
        "InfLoRA (KeepLoRA re-impl.)": Published(differs="KeepLoRA's own implementation, settings not known"),
    },
    # 2 since release 0.3, which draws other dropout masks than 0.2; 3 since the memory follows the comparison's rule.
    figures=3,
)


@dataclass(frozen=True)
class Settings(LowRankSettings):
    """Settings of InfLoRA: those of all low-rank methods, and what it keeps of each task's attention inputs.

    The defaults are the comparison setting of the NuSA-CL paper. The settings `rank`, `alpha`, `dropout`, `towers` and
    `matrices` are as in `LowRankSettings`.

    Attributes:
        threshold: the share that the remembered directions have to hold after a task, in 0..1: of the sum of the squared
            singular values of its attention inputs' covariance. After the first task they stay just below it.
        samples: the largest number of a task's images in the passes before and after its training; None for all.
    """

    threshold: float = Field(
        default=0.95, gt=0, lt=1, description="share of its inputs' covariance that a task leaves in memory"
    )
    samples: int | None = Field(
        default=None,
        ge=1,
        description="at most so many images in the pass before a task and in that after it; all if not given",
        json_schema_extra={"unit": "images"},
    )


class Plugin(LowRankPlugin):
    """InfLoRA: trains a low-rank update of each chosen matrix, and merges it into the weight after the task.

    The input directions of the updates of k and v avoid those of earlier tasks' inputs.

    Attributes:
        memory: for each block the directions that the attention's inputs of earlier tasks span (a `GradientMemory`), by
            names such as `image.0` (tower and index of the block).
    """

    settings: Settings
    why_none = "no free input direction left"
    limited_by = "free input directions"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.memory: dict[str, GradientMemory] = {}
        self._down: dict[str, Tensor] = {}  # by block, the A (r, d) of its k and v
        self._seen: InputCovariance  # what the current task's training has computed

    def begin(self, classifier: ClipClassifier) -> None:
        """Begins a run in which no block remembers any input direction.

        Args:
            classifier: not used.
        """
        self.memory = {}

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the basis (d, b) float32 of each block's memory by name; BLOCK is tower and index, such as `image.0`.

        The columns of `BLOCK.remembered` span the inputs that the block remembers; those of `BLOCK.free` span the
        complement, which is stored in its place where it is smaller. A block has one of the two.
        """
        return {f"{name}.{'free' if dual else 'remembered'}": basis for name, (basis, dual) in self.memory.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores, for every block, the input directions that it remembers from earlier tasks.

        Args:
            state: what `state_dict` returned: for each BLOCK (such as `image.0`) a basis (d, b), named
                `BLOCK.remembered`, or `BLOCK.free` if it spans the complement.
        """
        self.memory = {
            key.rpartition(".")[0]: GradientMemory(basis, dual=key.endswith(".free")) for key, basis in state.items()
        }

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        detach(strategy.model.clip)  # updates that an interrupted task may have left
        if self._informs:
            seen = self._watch(strategy)
            self._pass(strategy, seen)
            for name, covariance in seen.sums.items():
                directions, _ = self._memory_of(name, covariance).free(covariance)  # (d, f)
                self._down[name] = (directions[:, : self.settings.rank].T / math.sqrt(3)).float().contiguous()  # (r, d)
        self.decomposition_seconds += time.perf_counter() - began
        super().before_train_dataset_adaptation(strategy, *args, **kwargs)
        self._down = {}
        if self._informs:
            self._seen = self._watch(strategy)
            self._compute_padding(strategy, True)

    def update_of(self, matrix: WeightMatrix) -> LowRankUpdate | None:
        """Returns the update of a matrix for the coming task: dW = alpha / sqrt(rank) * B A.

        A (r, d_in) is frozen; B (d_out, r) is learned from zero. For k and v the rows of A are the leading directions
        of the task's inputs among those that no earlier task's inputs span, over sqrt(3). For the other matrices they
        are drawn at random. The result is None for k and v if no such direction is left.

        Args:
            matrix: the weight matrix to be updated.
        """
        weight = matrix.weight().detach()
        informed = matrix.matrix in ("k", "v")
        down = self._down[block_name(matrix.tower, matrix.block)] if informed else kaiming(weight, self.settings)
        return from_zero(weight, down, self.settings, trained=("up",)) if len(down) else None

    def before_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if self._informs:
            self._seen.weight = 1

    def after_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if self._informs:
            self._seen.weight = 0  # `--checkpointing` computes the blocks again in the backward pass

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        if self._informs:
            self._remember(strategy)
        self.decomposition_seconds += time.perf_counter() - began
        super().after_training_exp(strategy, *args, **kwargs)

    def _remember(self, strategy: Any) -> None:
        """Passes the task's images through the trained model, and lets the memories grow by all that was seen."""
        self._seen.add_up_images()
        self._seen.weight = 1
        for update in self.updates.values():
            update.share = WHOLE  # every process passes all images, with the same dropout
        self._pass(strategy, self._seen)
        self._compute_padding(strategy, False)
        for name, covariance in self._seen.sums.items():
            self.memory[name] = self._memory_of(name, covariance).extended(covariance, self.settings.threshold)

    @property
    def _informs(self) -> bool:
        """Whether the task's inputs decide on any update: only those of k and v follow them."""
        return bool({"k", "v"} & set(self.settings.matrices))

    def _memory_of(self, name: str, covariance: Tensor) -> GradientMemory:
        return self.memory.get(name) or empty(len(covariance))

    def _watch(self, strategy: Any) -> InputCovariance:
        return InputCovariance(strategy.model.clip, TOWERS[self.settings.towers])

    @torch.no_grad()
    def _pass(self, strategy: Any, seen: InputCovariance) -> None:
        """Computes the task's images, at most `samples`, and its training prompts, then stops watching.

        The prompts count as often as there are batches of images: with each of these, training computes them once.
        """
        model: ClipClassifier = strategy.model
        data = strategy.experience.dataset
        # The seed makes these the same images before and after the task is learned.
        batches = sample(strategy, data, min(self.settings.samples or len(data), len(data)), strategy.train_mb_size)
        try:
            if self.settings.towers != "text":
                for images, *_ in batches:
                    model.encode_images(images.to(strategy.device))
            if self.settings.towers != "image":
                seen.weight = len(batches)
                for prompts in model.tokens(strategy.experience.task_label)[0].split(strategy.train_mb_size):
                    model.encode_texts(prompts)
        finally:
            seen.stop()
        seen.same_everywhere()

    def _compute_padding(self, strategy: Any, on: bool) -> None:
        """Lets the task's prompts be computed to their last position while it trains, or again as far as needed."""
        model, task = strategy.model, strategy.experience.task_label
        tokens = model.tokens(task)  # (K, C, L)
        model.lengths[task] = tokens.shape[-1] if on else length(model.clip, tokens)
