"""LoRA: an unconstrained low-rank update of the same matrices, merged and drawn anew after each task.

Hu et al., LoRA, arXiv 2106.09685, used sequentially as in the NuSA-CL paper's comparison:

    dW = alpha / sqrt(rank) * B A        A (rank, d_in) Kaiming-uniform, B (d_out, rank) zero, both trained.

Dropout acts on the input of the update. After the task W <- W + dW; the next task draws a new A.

Fidelity: as the comparison method in the released NuSA-CL code (rank 128, alpha 2, dropout 0.25, the rank-stabilised
scaling alpha / sqrt(rank), the same matrices, the same optimiser). A small-rank LoRA is `--rank 8`.
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
    figures=2,  # from 0.3 on: other dropout masks are drawn than in 0.2
)


@dataclass(frozen=True)
class Settings(LowRankSettings):
    """Defaults: the comparison setting of the NuSA-CL paper."""


class Plugin(LowRankPlugin):
    """The method as an Avalanche plugin."""

    def make_update(self, weight: Tensor) -> LowRankUpdate:
        return from_zero(weight, kaiming(weight, self.settings.rank), self.settings, trained=("down", "up"))
