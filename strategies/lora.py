"""LoRA: an unconstrained low-rank update of each adapted matrix, merged after each task and drawn anew for the next.

Hu et al., LoRA, arXiv 2106.09685, used sequentially as in the NuSA-CL paper's comparison:

    dW = alpha / sqrt(rank) * B A        A (rank, d_in) Kaiming-uniform, B (d_out, rank) zero, both trained.

Dropout acts on the input of the update. After the task W <- W + dW; the next task draws a new A.

Fidelity: as the comparison method in the released NuSA-CL code (rank 128, alpha 2, dropout 0.25, the rank-stabilised
scaling alpha / sqrt(rank), the same matrices and optimiser as NuSA-CL). A LoRA of small rank is `--rank 8`.
"""

from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import VERMILLION, About, Published
from strategies.shared.low_rank import LowRankPlugin, LowRankUpdate, from_zero, kaiming
from strategies.shared.settings import LowRankSettings


ABOUT = About(
    name="LoRA",
    reference="Hu et al., ICLR 2022, arXiv 2106.09685",
    colour=VERMILLION,
    marker="s",
    published={"LoRA (NuSA re-impl.)": Published({"rank": 128})},
    figures=2,  # raised in release 0.3, which draws other dropout masks than 0.2
)


@dataclass(frozen=True)
class Settings(LowRankSettings):
    """Settings of LoRA, the same as those of all low-rank methods: rank, scale, dropout, towers and matrices.

    The defaults are the comparison setting of the NuSA-CL paper. Each setting is explained in `LowRankSettings`.
    """


class Plugin(LowRankPlugin):
    """LoRA: trains an unconstrained low-rank update of each chosen matrix, and merges it after the task."""

    def make_update(self, weight: Tensor) -> LowRankUpdate:
        """Returns LoRA's update of a weight, dW = alpha / sqrt(rank) * up @ down, with both factors trained.

        `down` (rank, d_in) starts Kaiming-uniform, and `up` (d_out, rank) at zero. The rank is at most min(d_out, d_in).

        Args:
            weight: (d_out, d_in), the weight to be updated.
        """
        return from_zero(weight, kaiming(weight, self.settings), self.settings, trained=("down", "up"))
