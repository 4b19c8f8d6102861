"""OPCM: each task's change is projected off what is merged already, and the sum is scaled to the size of one task's change.

Tang et al., Merging Models on the Fly Without Retraining: A Sequential Approach to Scalable Continual Model Merging, arXiv
2501.09522, NeurIPS 2025 (orthogonal projection-based continual merging). Every task is fine-tuned from theta_0, and

    tau_t = theta_t - theta_0,  n_t = ||tau_t||        one vector over all trained parameters
    D_1 = tau_1,  D_t = D_{t-1} + P(tau_t)
    deployed = theta_0 + D_t * mean(n_1 .. n_t) / ||D_t||

P acts on each linear map's matrix by itself. With the SVD U diag(s) V^T of that matrix of D_{t-1} (d_out, d_in), and p the
first index, from 0, at which the partial sums of s exceed the share alpha of their whole sum (plain values, no squares),

    M = U^T tau V,  M[:p, :p] <- 0,  M[i, i] <- 0 for all i,  P(tau) = U M V^T        U, V of the full SVD

All other parameters are added as they are. U and V are square here; P is computed without them, as tau minus what is set to
zero in M, for which the thin SVD has all that is needed. Stored are theta_0, D and one number for each task: twice the
trained weights (image tower of ViT-B/16: 2 x 345 MB).

Fidelity: P, alpha and the scaling are the released code's, in the equal form without division of D at each task. There q,
k and v are matrices of their own; here they are rows of one parameter, and split for the projection. The projection to the
joint space, which is not trained there, is a linear map here like any other. In that code a parameter that belongs to no
leaf module (the class embedding) is scaled, but never updated after the first task; here it is added like biases. Only the
image tower learns, as there (`--towers both` trains both). Its fine-tuning is AdamW with rate 1e-5 on other streams than
MTIL; no settings and no values are published for MTIL.
"""

import time
from typing import Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from strategies.about import GREEN, About
from strategies.numerics.precision import full_precision
from strategies.numerics.subspace import decompose
from strategies.shared.merging import INITIAL, MergingPlugin, Weights, moved
from strategies.shared.settings import MergingSettings


ABOUT = About(
    name="OPCM",
    reference="Tang et al., NeurIPS 2025, arXiv 2501.09522",
    colour=GREEN,
    marker="v",
)
SUM, NORMS = "sum", "norms"  # D, and the n_t (t,) float64, among what is stored
PROJECTIONS = ("visual.proj", "text_projection")  # linear maps that open_clip keeps as plain parameters


@dataclass(frozen=True)
class Settings(MergingSettings):
    """Settings of OPCM: the towers that learn, and what counts as taken by earlier tasks. `towers` is as in `MergingSettings`.

    Attributes:
        alpha: the share of the sum of a merged matrix's singular values up to which its directions are closed to later
            tasks, in 0..1, published 0.5.
    """

    alpha: float = Field(
        default=0.5, ge=0, lt=1, description="share of the singular values whose directions later tasks leave alone"
    )


def projected(vector: Tensor, merged: Tensor, alpha: float) -> Tensor:
    """Returns P(tau) (d_out, d_in), what a task's change adds to the merged one of a matrix; all of it where that is zero.

    Args:
        vector: (d_out, d_in), tau of the matrix.
        merged: (d_out, d_in), D of the matrix before the task.
        alpha: the share of the singular values, in 0..1.
    """
    if not merged.any():
        return vector
    with full_precision():
        u, s, vh = decompose(merged)  # (d_out, n), (n,), (n, d_in)
        sums = s.double().cumsum(dim=0)
        closed = int((sums <= alpha * sums[-1]).sum())  # p
        inside = u.T @ vector @ vh.T  # (n, n), the part of M that has directions of D on both sides
        removed = inside.diagonal().diag()
        removed[:closed, :closed] = inside[:closed, :closed]
        return vector - u @ removed @ vh


class Plugin(MergingPlugin):
    """OPCM: fine-tunes each task from the initial weights, and deploys these plus the projected, scaled sum of changes."""

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._parts: dict[str, int] = {}  # by name of a linear map's parameter, of how many matrices it consists

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        super().before_train_dataset_adaptation(strategy, *args, **kwargs)
        self._parts = linear_maps(strategy.model.clip)

    def merged(self, tuned: Weights) -> Weights:
        """Returns theta_0 + D * mean(n) / ||D||, after the projected task vector has gone into D.

        Args:
            tuned: theta_t.
        """
        vector, before = self.task_vector(tuned), self.weights(SUM)
        norms = torch.cat([self.stored.get(NORMS, torch.empty(0).double()).cpu(), length(vector)[None]])  # (t,)
        began = time.perf_counter()
        for name, merged in before.items():
            count = self._parts.get(name, 0)
            pairs = zip(vector[name].chunk(count), merged.chunk(count), strict=True) if count else ()
            added = [projected(part, old, self.settings.alpha) for part, old in pairs] or [vector[name]]
            vector[name] = merged + torch.cat(added)
        self.decomposition_seconds += time.perf_counter() - began
        self.keep(SUM, vector)
        self.stored[NORMS] = norms
        size = float(length(vector))
        return moved(self.weights(INITIAL), vector, float(norms.mean()) / size if size else 0.0)


def length(vector: Weights) -> Tensor:
    """Returns the Euclidean norm over all parameters, a float64 scalar on the CPU.

    Args:
        vector: a difference of weights, by the parameters' names.
    """
    # In the order of names: that of the mapping is another after a resume, and so would be the last digit.
    each = [vector[name].double().square().sum().cpu() for name in sorted(vector)]
    return torch.stack(each).sum().sqrt()


def linear_maps(clip: nn.Module) -> dict[str, int]:
    """Returns the names of the parameters that are linear maps, and of how many matrices below one another each consists.

    That is three for q, k and v, which open_clip's attention keeps in one parameter, otherwise one.

    Args:
        clip: the open_clip model.
    """
    found = dict.fromkeys(PROJECTIONS, 1)
    for name, module in clip.named_modules():
        if isinstance(module, nn.Linear):
            found[f"{name}.weight"] = 1
        elif isinstance(module, nn.MultiheadAttention):
            found[f"{name}.in_proj_weight"] = 3
    return found
