"""OPLoRA: a low-rank update that leaves the weight's largest singular triplets alone, by projection on both sides.

Xiong and Xie, OPLoRA (orthogonal projection LoRA), arXiv 2510.13003 (AAAI 2026), used sequentially. Before each task
every adapted matrix W (d_out, d_in) is decomposed, W = U S V^T, and its k largest singular triplets are preserved:

    dW = alpha / sqrt(rank) * P_L B A P_R      P_L = I - U_k U_k^T (d_out, d_out), P_R = I - V_k V_k^T (d_in, d_in)

with A (r, d_in) Kaiming-uniform and B (d_out, r) zero, both trained; U_k (d_out, k) and V_k (d_in, k) are frozen. No
projector is formed: the factors P_L B and A P_R are computed at every step, B - U_k (U_k^T B) and A - (A V_k) V_k^T. So
(W + dW) v_i = s_i u_i and u_i^T (W + dW) = s_i v_i^T for i <= k whatever the optimiser does, up to rounding; gradients that
are projected before Adam do not give this. Dropout acts on the input of the update. After the task W <- W + dW; the next
task decomposes again. Nothing is stored between tasks.

k is `preserved`, or else the least number of triplets with the share `rho` of the energy, NuSA-CL's principal rank. The
complement has d_out - k and d_in - k dimensions, so r is the smaller of `rank` and min(d_out, d_in) - k.

Against NuSA-CL, this answers whether it matters which directions of the complement are learned in. NuSA-CL fixes the
singular vectors of the smallest values; here gradient descent finds r directions in the whole complement, which for a
matrix that is not square also holds directions that are no singular vector of W.

Fidelity. From the paper: the two-sided projection, the factors and their start, merging. No code of the authors is known.
Not published, or not found: k, the rank, alpha, and any setting on CLIP. So the defaults are those that all low-rank
methods share here (rank 128, alpha 2, dropout 0.25, q, k, v and o of both towers), the scaling is alpha / sqrt(rank)
where the paper has alpha / rank, and k follows the energy, which makes the split NuSA-CL's. How strongly an update aligns
with the preserved directions is in `rank.csv`, for every method.
"""

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import BLACK, About
from strategies.base import Unfit
from strategies.clip.classifier import ClipClassifier
from strategies.clip.weight_matrices import weight_matrices
from strategies.numerics.subspace import choose, energy_rank
from strategies.shared.fused_low_rank import Factors, Part
from strategies.shared.low_rank import LowRankPlugin, LowRankUpdate, kaiming, scale
from strategies.shared.settings import LowRankSettings


ABOUT = About(name="OPLoRA", reference="Xiong and Xie, AAAI 2026, arXiv 2510.13003", colour=BLACK, marker="v")


@dataclass(frozen=True)
class Settings(LowRankSettings):
    """Settings of OPLoRA: those of all low-rank methods, and how many singular triplets of a weight are preserved.

    The settings `rank`, `alpha`, `dropout`, `towers` and `matrices` are as in `LowRankSettings`.

    Attributes:
        preserved: k, the number of largest singular triplets that the update leaves alone, below the smaller side of
            every chosen matrix; None where `rho` decides.
        rho: the share of the sum of squared singular values, in 0..1, that the preserved triplets hold if `preserved` is
            None. It is also what the measurements call principal.
    """

    preserved: int | None = Field(
        default=None,
        ge=1,
        description="singular triplets of each matrix that stay; as many as hold the share rho if not given",
        json_schema_extra={"unit": "directions"},
    )
    rho: float = Field(default=0.95, gt=0, lt=1, description="share of the squared singular values that is preserved")


class ProjectedUpdate(LowRankUpdate):
    """The update dW = scale * (I - U U^T) @ up @ down @ (I - V V^T) of a weight (d_out, d_in), which starts at 0.

    Args:
        down: (r, d_in), the initial value of the trained factor. `up` (d_out, r) starts at zero, and is trained too.
        u: U (d_out, k), orthonormal columns: the output directions in which dW has no component.
        vh: V^T (k, d_in), orthonormal rows: the input directions that dW maps to zero.
        scale: the factor on the product.
        dropout: the probability of dropping a value of the layer's input while training.

    Attributes:
        u, vh: as given, frozen.
    """

    u: Tensor
    vh: Tensor

    def __init__(self, down: Tensor, u: Tensor, vh: Tensor, *, scale: float, dropout: float) -> None:
        up = torch.zeros(len(u), len(down), device=down.device)  # (d_out, r)
        super().__init__(down, up, None, scale=scale, dropout=dropout, trained=("down", "up"))
        self.register_buffer("u", u)
        self.register_buffer("vh", vh)

    def terms(self, first: int) -> list[tuple[Part, Factors]]:
        """Returns dW as one pair of a `Part` (rows, scale, dropout) and the projected factors (down, None, up).

        Args:
            first: the first of the weight's rows that the update covers; it covers d_out rows.
        """
        ((part, _),) = super().terms(first)
        # Never in bfloat16: what it rounds away would be an update of the preserved directions.
        with torch.autocast(self.up.device.type, enabled=False):
            down = self.down - (self.down @ self.vh.T) @ self.vh  # (r, d_in)
            up = self.up - self.u @ (self.u.T @ self.up)  # (d_out, r)
        return [(part, (down, None, up))]


class Plugin(LowRankPlugin):
    """OPLoRA: trains a low-rank update outside the weight's largest singular triplets, and merges it after the task."""

    settings: Settings
    why_none = "all directions are preserved"
    limited_by = "directions besides the preserved ones"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.rho = settings.rho

    def begin(self, classifier: ClipClassifier) -> None:
        """Checks that every chosen matrix has more singular directions than are to be preserved.

        Args:
            classifier: the model of the run.

        Raises:
            Unfit: a matrix has not.
        """
        settings, preserved = self.settings, self.settings.preserved
        if preserved is None:
            return
        matrices = weight_matrices(classifier.clip, settings.towers, settings.matrices)
        smallest = min(matrices, key=lambda matrix: min(matrix.weight().shape))
        if preserved >= (has := min(smallest.weight().shape)):
            raise Unfit(
                f"--preserved: must be below {has}, the number of singular directions of {smallest.name}, got {preserved}"
            )

    def make_update(self, weight: Tensor) -> LowRankUpdate | None:
        """Returns the update of a weight outside its k preserved singular triplets, or None if these are all.

        It is dW = alpha / sqrt(rank) * P_L up down P_R. `down` (r, d_in) starts Kaiming-uniform and `up` (d_out, r) at
        zero; r is the smaller of `rank` and min(d_out, d_in) - k.

        Args:
            weight: (d_out, d_in), the weight to be updated.
        """
        settings = self.settings
        decomposition = self.decompose(weight)
        kept = settings.preserved or energy_rank(decomposition.s, settings.rho)
        rank = min(settings.rank, len(decomposition.s) - kept)
        if rank == 0:
            return None
        u, vh = choose(decomposition, kept, "top")
        down = kaiming(weight, settings)[:rank]
        return ProjectedUpdate(down, u, vh, scale=scale(settings, weight), dropout=settings.dropout)
