"""O-LoRA: one LoRA pair for each task, its A pushed to be orthogonal to those of all earlier tasks.

Wang et al., Orthogonal Subspace Learning for Language Model Continual Learning, arXiv 2310.14152 (not PEFT's OLoRA).
For task t

    dW_t = alpha / sqrt(rank) * B_t A_t        A_t (rank, d_in) Kaiming-uniform, B_t (d_out, rank) zero, both trained,

    loss + orthogonality * sum over matrices, over i < t, of sum_jk |A_i A_t^T|_jk        A_i A_t^T (rank, rank)

The earlier pairs are frozen, and the weight has all of them: W + sum_i dW_i.

Fidelity. As in the authors' code, the penalty is the sum of absolute entries (the paper's formula squares them; the
code, with which the paper's numbers were made, does not), lambda is 0.5, and every pair is stored. The code's second
penalty, an L2 norm of the new pair, is off by default there and left out here; AdamW's weight decay acts on the pair.

Different: earlier pairs are merged into W, and stored beside it for the penalty alone, rank (d_in + d_out) values for
each matrix and task. In evaluation that computes the same function; in training dropout acts on the earlier pairs too
in the authors' code, and here on the new one alone. The pairs count as storage, B too, which the penalty does not need,
since the authors store pairs. For CLIP its authors published no values and no settings: rank 8 and lambda are theirs
for language models, where the pairs are on q and v alone, with scale 4 and dropout 0.1; matrices, scaling, dropout and
optimiser here are those of the NuSA-CL paper's comparison.

That comparison's rank of 128 is not possible here. Once the ranks of all tasks add up to d_in, only A = 0 is orthogonal
to the earlier ones, and nothing more is learned (in ViT-B/16's text tower, 512 wide, after four tasks; observed with
the CLIP of the stream `micro`, 128 wide, at rank 32 from the fifth task on).
"""

from typing import Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import BLUE, About, Published
from strategies.clip.classifier import ClipClassifier
from strategies.shared.low_rank import LowRankPlugin, LowRankUpdate, from_zero, kaiming
from strategies.shared.settings import LowRankSettings


ABOUT = About(
    name="O-LoRA",
    reference="Wang et al., Findings of EMNLP 2023, arXiv 2310.14152",
    colour=BLUE,
    marker="<",
    published={"O-LoRA": Published(differs="KeepLoRA's re-run, settings not known")},
    figures=2,  # raised in release 0.3, which draws other dropout masks than 0.2
)


@dataclass(frozen=True)
class Settings(LowRankSettings):
    """Settings of O-LoRA: those of all low-rank methods, and the weight of its orthogonality penalty.

    The defaults of `rank` and `orthogonality` are those of its paper, the rest as in the NuSA-CL paper's comparison.
    The settings `alpha`, `dropout`, `towers` and `matrices` are as in `LowRankSettings`.

    Attributes:
        rank: the rank of each task's update; over all tasks the ranks should not add up to the width of the model.
        orthogonality: the factor lambda on the penalty, the sum of the absolute entries of A_i A_t^T, with A_t of the
            new task and A_i of all earlier ones.
    """

    rank: int = Field(
        default=8, ge=1, description="rank of a task's pair; over all tasks it should not add up to the width"
    )
    orthogonality: float = Field(default=0.5, ge=0, description="weight (lambda) of the overlap with earlier tasks' A")


def overlap(old: Tensor, new: Tensor) -> Tensor:
    """Returns the sum of the absolute entries of old @ new^T, a scalar: 0 if the rows of both are orthogonal.

    Args:
        old: (n, d_in), the factors A of earlier tasks for one matrix, below one another.
        new: (r, d_in), the factor A of the new task for the same matrix.
    """
    return (old @ new.T).abs().sum()


class Plugin(LowRankPlugin):
    """O-LoRA: trains a LoRA pair (A, B) for each task, whose A a penalty makes orthogonal to earlier ones.

    dW = alpha / sqrt(rank) * B A is merged into the weight after the task, and the pair is stored for the penalty.

    Attributes:
        old_a: by the matrix's name, such as `image.0.q`, the A of all t past tasks below one another, (t * rank, d_in).
        old_b: by the matrix's name, the B of all t past tasks side by side, (d_out, t * rank).
    """

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.old_a: dict[str, Tensor] = {}
        self.old_b: dict[str, Tensor] = {}
        self._full_said = False

    def begin(self, classifier: ClipClassifier) -> None:
        """Begins a run without stored LoRA pairs (A, B) of past tasks.

        Args:
            classifier: not used.
        """
        self.old_a, self.old_b = {}, {}

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the LoRA pairs of the t past tasks by name, for each matrix NAME such as `image.0.q`.

        `NAME.A` (t * rank, d_in) has their A below one another, and `NAME.B` (d_out, t * rank) their B side by side.
        """
        return {
            **{f"{name}.A": stored for name, stored in self.old_a.items()},
            **{f"{name}.B": stored for name, stored in self.old_b.items()},
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores the LoRA pairs of past tasks.

        Args:
            state: what `state_dict` returned: for each matrix NAME, such as `image.0.q`, the A of all past tasks as
                `NAME.A` and their B as `NAME.B`.
        """
        self.old_a = {key.removesuffix(".A"): stored for key, stored in state.items() if key.endswith(".A")}
        self.old_b = {key.removesuffix(".B"): stored for key, stored in state.items() if key.endswith(".B")}

    def make_update(self, weight: Tensor) -> LowRankUpdate:
        """Returns the new task's update of a weight, dW = alpha / sqrt(rank) * B A: A (rank, d_in), B (d_out, rank).

        A starts Kaiming-uniform, B at zero; both are trained. The rank is at most min(d_out, d_in).

        Args:
            weight: (d_out, d_in), the weight to be updated.
        """
        return from_zero(weight, kaiming(weight, self.settings), self.settings, trained=("down", "up"))

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        super().before_train_dataset_adaptation(strategy, *args, **kwargs)
        self.old_a = {name: stored.to(strategy.device) for name, stored in self.old_a.items()}  # may be on the CPU
        full = [each for each, update in self.updates.items() if self._overfull(each.name, update)]
        if full and not self._full_said:
            self.notes.append(
                f"{len(full)} of {len(self.updates)} matrices: the ranks of the tasks so far add up to more than their inputs "
                "have dimensions, so that no new update is orthogonal to all earlier ones"
            )
            self._full_said = True

    def _overfull(self, name: str, update: LowRankUpdate) -> bool:
        return name in self.old_a and sum(map(len, (self.old_a[name], update.down))) > update.down.shape[1]

    def before_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if self.old_a:
            strategy.loss = strategy.loss + self.settings.orthogonality * self.penalty()

    def penalty(self) -> Tensor:
        """Returns the orthogonality penalty without its factor lambda, a scalar.

        It is the sum, over all matrices, of the absolute entries of A_i A_t^T, with A_t of the new task and A_i of all
        earlier tasks.
        """
        each = [overlap(self.old_a[matrix.name], update.down) for matrix, update in self.updates.items()]
        return torch.stack(each).sum()

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        for matrix, update in self.updates.items():
            _append(self.old_a, matrix.name, update.down, dim=0)
            _append(self.old_b, matrix.name, update.up, dim=1)
        super().after_training_exp(strategy, *args, **kwargs)


def _append(stored: dict[str, Tensor], name: str, factor: Tensor, dim: int) -> None:
    new = factor.detach()
    stored[name] = torch.cat([stored[name].to(new.device), new], dim) if name in stored else new.clone()
