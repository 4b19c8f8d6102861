"""MiLoRA: LoRA that starts from the smallest singular triplets of the weight; merged after each task.

Wang et al., MiLoRA, arXiv 2406.09044, used sequentially as in the NuSA-CL paper's comparison. Before each task every adapted
matrix is decomposed, W = U S V^T (d_out, d_in), and its r = min(rank, d_out, d_in) smallest triplets are shared out evenly:

    B_0 = U_r S_r^(1/2) (d_out, r)        A_0 = S_r^(1/2) V_r^T (r, d_in)        s = alpha / sqrt(rank)

A and B are trained from there, without any constraint. After the task the weight is what the model computed with last:

    original    W <- (W - s B_0 A_0) + s B A        what was put into the factors was taken out of the frozen part first
    released    W <- W + s B A                      nothing was taken out: the task starts at W + s B_0 A_0

Fidelity. `original` is the paper's: the frozen part sees the layer's input, the factors its dropout, and without dropout the
function at the start is the one before, bit for bit. The paper's scaling is 1; with the s that all low-rank methods here share,
it is s B_0 A_0 that has to be taken out. It is not taken out of W itself but computed beside it, from frozen copies of A_0 and
B_0, so W is the same until the task is merged and a task that breaks off leaves nothing half subtracted. `released` is the
comparison method in the released NuSA-CL code, as its documentation and papers describe it, behind their figures. Settings are
that code's for both (the paper's own were for language models).
"""

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import SKY, About, Published
from strategies.numerics.subspace import choose
from strategies.shared.fused_low_rank import Factors, Part
from strategies.shared.low_rank import LowRankPlugin, LowRankUpdate, scale
from strategies.shared.settings import LowRankSettings


ABOUT = About(
    name="MiLoRA",
    reference="Wang et al., NAACL 2025, arXiv 2406.09044",
    colour=SKY,
    marker="X",
    published={"MiLoRA (NuSA re-impl.)": Published({"rank": 128, "variant": "released"})},
    figures=2,  # from 0.3 on: other dropout masks are drawn than in 0.2
)


@dataclass(frozen=True)
class Settings(LowRankSettings):
    """Defaults: the comparison setting of the NuSA-CL paper, but with the function unchanged at the start."""

    variant: Literal["original", "released"] = Field(
        default="original",
        description="the paper's, unchanged at the start, or that of the NuSA-CL comparison, which subtracts nothing",
    )


class TailUpdate(LowRankUpdate):
    """dW = scale * (up @ down - up_0 @ down_0), with copies of the start that stay: nothing at the start.

    Args:
        down: (r, d_in), trained from here.
        up: (d_out, r), trained from here.
        scale: factor on the products.
        dropout: probability, on the input of the trained product only, while training.
    """

    down_0: Tensor
    up_0: Tensor

    def __init__(self, down: Tensor, up: Tensor, *, scale: float, dropout: float) -> None:
        super().__init__(down, up, None, scale=scale, dropout=dropout, trained=("down", "up"))
        self.register_buffer("down_0", down.clone())
        self.register_buffer("up_0", up.clone())

    def terms(self, first: int) -> list[tuple[Part, Factors]]:
        rows = slice(first, first + len(self.up))
        return [*super().terms(first), (Part(rows, -self.scale, 0.0), (self.down_0, None, self.up_0))]


class Plugin(LowRankPlugin):
    """The method as an Avalanche plugin."""

    settings: Settings

    def make_update(self, weight: Tensor) -> LowRankUpdate:
        settings = self.settings
        decomposition = self.decompose(weight)
        rank = min(settings.rank, len(decomposition.s))
        u, vh = choose(decomposition, rank, "tail")
        root = decomposition.s[-rank:].sqrt()  # (r,)
        down, up = root[:, None] * vh, u * root
        factor = scale(settings.alpha, settings.rank)
        if settings.variant == "original":
            return TailUpdate(down, up, scale=factor, dropout=settings.dropout)
        return LowRankUpdate(down, up, None, scale=factor, dropout=settings.dropout, trained=("down", "up"))
