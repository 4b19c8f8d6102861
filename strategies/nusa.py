"""NuSA-CL: learns in the approximate null space of the current weights, merges, and decomposes again.

Jo and Kim, Memory-Free Continual Learning with Null Space Adaptation for Zero-Shot Vision-Language Models, arXiv
2510.21175 (ICLR 2026). Before each task every adapted matrix W (d_out, d_in) is decomposed, W = U S V^T. Its principal
rank k is the least number of directions with sum_{i<=k} s_i^2 >= rho * sum_i s_i^2. The n - k other directions,
n = min(d_out, d_in), are its approximate null space. The r = min(n - k, rank) smallest of them carry the update

    dW = alpha / sqrt(rank) * U_r M V_r^T        U_r (d_out, r), V_r (d_in, r) frozen, M (r, r) trained from zero.

Dropout acts on the input of the update. After the task W <- W + dW. Nothing is stored between tasks and nothing grows.

Fidelity, against the released code as described in its documentation and papers. Equal: matrices (q, k, v, o of every
block of both towers), choice of directions, zero initialisation, scaling (by the configured rank, at most n, also where
r is smaller), dropout 0.25, float32 SVD, one dropout mask for each matrix. Different: the order of the training images
is a function of seed and task alone, and batches run on across epochs, so that none is shorter. TF32, which torch
allows for the patch embedding's convolution, is off unless `--precision` allows it. k is counted in float64 (of 20 000
random spectra six have another k in float32, by one).
"""

from typing import Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import BLUE, About, Published
from strategies.numerics.subspace import choose, energy_rank
from strategies.shared.low_rank import LowRankPlugin, LowRankUpdate, scale
from strategies.shared.settings import LowRankSettings


ABOUT = About(
    name="NuSA-CL",
    reference="Jo and Kim, ICLR 2026, arXiv 2510.21175",
    colour=BLUE,
    marker="o",
    published=dict.fromkeys(
        (
            "NuSA-CL",
            "NuSA-CL (released code, seed 42)",
            "NuSA-CL ablation: M only (default)",
            "NuSA-CL ablation: subspace Tail (default) r=128",
        ),
        Published({"rank": 128, "rho": 0.95, "directions": "tail", "trained": "M", "towers": "both"}),
    ),
    figures=2,  # raised in release 0.3, which draws other dropout masks than 0.2
)


@dataclass(frozen=True)
class Settings(LowRankSettings):
    """Settings of NuSA-CL: those of all low-rank methods, and what of a weight's spectrum counts as knowledge.

    The defaults are the paper's full-shot MTIL setting. `directions` and `trained` are for the paper's ablations. The
    settings `rank`, `alpha`, `dropout`, `towers` and `matrices` are as in `LowRankSettings`.

    Attributes:
        rho: the share of the sum of squared singular values, in 0..1, that the largest (principal) directions hold. The
            update's rank is at most the number of the others.
        directions: which singular directions carry the update: `tail` for the smallest singular values, `top` for the
            largest, `random` for a random draw.
        trained: which factors of dW = s U M V^T learn: M alone, M and V, or all three.
    """

    rho: float = Field(default=0.95, gt=0, lt=1, description="share of the squared singular values that is knowledge")
    directions: Literal["tail", "top", "random"] = Field(
        default="tail", description="which singular directions carry the update"
    )
    trained: Literal["M", "M+V", "M+U+V"] = Field(
        default="M", description="which factors learn; M+U+V is 'initialisation only'"
    )


FACTORS = {"M": ("core",), "M+V": ("core", "down"), "M+U+V": ("core", "down", "up")}


class Plugin(LowRankPlugin):
    """NuSA-CL: trains an update of each chosen matrix in its approximate null space, and merges it after the task."""

    settings: Settings
    why_none = "no null direction left"
    limited_by = "null directions"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.rho = settings.rho

    def make_update(self, weight: Tensor) -> LowRankUpdate | None:
        """Returns the update of a weight in its approximate null space, or None if that is empty.

        The null space has the singular directions left when the largest ones hold the share `rho` of the squared
        singular values. The update is dW = alpha / sqrt(rank) * up @ core @ down. Its `core` (r, r) starts at zero;
        `up` (d_out, r) and `down` (r, d_in) start as singular vectors, with r the smaller of the setting `rank` and the
        size of the null space. By default only `core` is trained.

        Args:
            weight: (d_out, d_in), the weight to be updated.
        """
        settings = self.settings
        decomposition = self.decompose(weight)
        null_directions = len(decomposition.s) - energy_rank(decomposition.s, settings.rho)
        rank = min(null_directions, settings.rank)
        if rank == 0:
            return None
        u, vh = choose(decomposition, rank, settings.directions)
        return LowRankUpdate(
            down=vh,
            up=u,
            core=torch.zeros(rank, rank, device=weight.device),
            scale=scale(settings, weight),
            dropout=settings.dropout,
            trained=FACTORS[settings.trained],
        )
