"""InfLoRA: a low-rank update where the task's inputs lie and those of earlier tasks do not; merged after each task.

Liang and Li, InfLoRA, arXiv 2404.00228 (CVPR 2024), as adapted to CLIP in the NuSA-CL paper's comparison:

    dW = alpha / sqrt(rank) * B A        A (r, d_in) frozen, B (d_out, r) trained from zero.

Before a task, some of its images and all its training prompts (first template) pass once through the model. For each
block they give the attention's inputs H (all tokens, d) and their covariance C = H^T H. What the block's memory M holds
is removed from C, and

    for k and v     A = first r = min(rank, free directions) left singular vectors of C - M M^T C, as rows, over sqrt(3)
    for others      A = Kaiming-uniform, frozen too (the adaptation's q and o; here also fc and proj)

After the task W <- W + dW. The inputs are gathered once more, with the merged model, and the memory grows by the rule
in `strategies/numerics/gradient_memory.py` until it holds `threshold` of their energy. The memories (d, b <= d / 2),
one for each block, are stored between tasks. The method of the paper itself, without q and o, is `--matrices k,v`.

Fidelity. As in the authors' code: uncentred covariance, one memory for k and v, 1 / sqrt(3), A frozen, a pass before
and one after each task, memory stored as the smaller of the space and its complement. As in the NuSA-CL comparison, as
its papers and documentation describe it: q and o, rank 128, scaling, dropout, threshold 0.95 for every task (the
authors' own rises from task to task towards 1).

Different: a pass has `samples` images instead of all, since 4096 images (of 197 tokens) determine a covariance of 768
dimensions well, and all of SUN397 would cost more than training on it. The memory grows by the paper's rule, on the
energy of H; the authors' code puts C in the place of H, so that its energies are squared and its memory grows less. C
includes all tokens of the prompts, also those after the end of the text.
"""

import math
import time
from functools import partial
from typing import Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from strategies.about import PURPLE, About, Published
from strategies.clip.classifier import ClipClassifier
from strategies.clip.weight_matrices import TOWERS, WeightMatrix, blocks
from strategies.numerics.gradient_memory import GradientMemory, empty
from strategies.numerics.precision import full_precision
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
    figures=2,  # raised in release 0.3, which draws other dropout masks than 0.2
)


@dataclass(frozen=True)
class Settings(LowRankSettings):
    """Settings of InfLoRA: those of all low-rank methods, and what it keeps of each task's attention inputs.

    The defaults are the comparison setting of the NuSA-CL paper. The settings `rank`, `alpha`, `dropout`, `towers` and
    `matrices` are as in `LowRankSettings`.

    Attributes:
        threshold: the share of the energy (sum of squares) of a task's attention inputs that the remembered directions
            have to hold after it, in 0..1.
        samples: the largest number of a task's images whose attention inputs are gathered.
    """

    threshold: float = Field(
        default=0.95, gt=0, lt=1, description="share of its inputs' energy that a task leaves in memory"
    )
    samples: int = Field(
        default=4096,
        ge=1,
        description="at most so many images of a task are gathered; the authors take all",
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

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.memory: dict[str, GradientMemory] = {}
        self._down: dict[str, Tensor] = {}  # by block, the A (r, d) of its k and v

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
        for name, covariance in self._gather(strategy).items():
            directions = self._memory_of(name, covariance).leading(covariance, self.settings.rank)  # (d, r)
            self._down[name] = (directions.T / math.sqrt(3)).float().contiguous()  # (r, d)
        self.decomposition_seconds += time.perf_counter() - began
        super().before_train_dataset_adaptation(strategy, *args, **kwargs)
        self._down = {}

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
        down = self._down[_block(matrix.tower, matrix.block)] if informed else kaiming(weight, self.settings.rank)
        return from_zero(weight, down, self.settings, trained=("up",)) if len(down) else None

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        super().after_training_exp(strategy, *args, **kwargs)
        began = time.perf_counter()
        for name, covariance in self._gather(strategy).items():
            self.memory[name] = self._memory_of(name, covariance).extended(covariance, self.settings.threshold)
        self.decomposition_seconds += time.perf_counter() - began

    def _memory_of(self, name: str, covariance: Tensor) -> GradientMemory:
        return self.memory.get(name) or empty(len(covariance))

    def _gather(self, strategy: Any) -> dict[str, Tensor]:
        if not {"k", "v"} & set(self.settings.matrices):
            return {}
        return gather(strategy, TOWERS[self.settings.towers], self.settings.samples)


def _block(tower: str, index: int) -> str:
    return f"{tower}.{index}"


@torch.no_grad()
def gather(strategy: Any, towers: tuple[str, ...], samples: int) -> dict[str, Tensor]:
    """Returns the uncentred covariance of each block's attention input in the current task: H^T H (d, d), float64.

    The key is tower and index of the block, such as `image.0`. In the image tower the rows of H are all tokens of at
    most `samples` of the task's images, in the text tower those of all its training prompts.

    Args:
        strategy: the Avalanche strategy that trains, at the current experience.
        towers: the towers, of `image` and `text`.
        samples: the largest number of images.
    """
    model: ClipClassifier = strategy.model
    sums: dict[str, Tensor] = {}

    def add(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        tokens = inputs[0].flatten(0, 1).float()  # (B L, d)
        with full_precision():
            product = (tokens.T @ tokens).double()
        sums[name] = sums[name] + product if name in sums else product

    hooks = [
        block.attn.register_forward_pre_hook(partial(add, _block(tower, index)))
        for tower in towers
        for index, block in enumerate(blocks(model.clip, tower))
    ]
    try:
        if "image" in towers:
            # The seed makes these the same images before and after the task is learned.
            for images, *_ in sample(strategy, strategy.experience.dataset, samples, strategy.train_mb_size):
                model.encode_images(images.to(strategy.device))
        if "text" in towers:
            for prompts in model.tokens(strategy.experience.task_label)[0].split(strategy.train_mb_size):
                model.clip.encode_text(prompts)
    finally:
        for hook in hooks:
            hook.remove()
    return sums
