"""MiLoRA: LoRA that starts from the smallest singular triplets of the weight; merged after each task.

Wang et al., MiLoRA, arXiv 2406.09044, used sequentially as in the NuSA-CL paper's comparison. Before each task every
adapted matrix is decomposed, W = U S V^T (d_out, d_in). The factors start from its r = min(rank, d_out, d_in) smallest
triplets, whose singular values they share evenly:

    B_0 = U_r S_r^(1/2) (d_out, r)        A_0 = S_r^(1/2) V_r^T (r, d_in)        s = alpha / sqrt(r)

A and B are trained from there, without any constraint. After the task the weight becomes what the model last computed
with:

    original    W <- (W - s B_0 A_0) + s B A        the initial product is taken out of the frozen part first
    released    W <- W + s B A                      nothing is taken out: the task starts at W + s B_0 A_0

Fidelity. `original` is the paper's variant: the frozen part sees the layer's input, the factors see that input after
dropout, and without dropout the model at the start of the task computes what it did before, bit for bit. The paper's
scaling is 1; with the scaling s that all low-rank methods share here, s B_0 A_0 is what has to be taken out. It is not
subtracted from W but computed beside it, from frozen copies of A_0 and B_0. So W does not change until the task is
merged, and an interrupted task leaves nothing half subtracted. `released` is the comparison method in the released
NuSA-CL code, as its documentation and papers describe it, with which their published numbers were made. Both variants
have that code's settings (the MiLoRA paper's own were for language models).
"""

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import SKY, About, Published
from strategies.numerics.subspace import choose
from strategies.shared.fused_low_rank import Factors, Part
from strategies.shared.low_rank import LowRankPlugin, LowRankUpdate, largest, scale
from strategies.shared.settings import LowRankSettings


ABOUT = About(
    name="MiLoRA",
    reference="Wang et al., NAACL 2025, arXiv 2406.09044",
    colour=SKY,
    marker="X",
    published={"MiLoRA (NuSA re-impl.)": Published({"rank": 128, "variant": "released"})},
    figures=2,  # raised in release 0.3, which draws other dropout masks than 0.2
)


@dataclass(frozen=True)
class Settings(LowRankSettings):
    """Settings of MiLoRA: those of all low-rank methods, and which of its two variants is run.

    The defaults are the comparison setting of the NuSA-CL paper, but with the variant `original`. The settings `rank`,
    `alpha`, `dropout`, `towers` and `matrices` are as in `LowRankSettings`.

    Attributes:
        variant: `original` subtracts the initial product of the factors, so that a task starts from unchanged weights.
            `released` does not, as in the NuSA-CL paper's comparison.
    """

    variant: Literal["original", "released"] = Field(
        default="original",
        description="the paper's, unchanged at the start, or that of the NuSA-CL comparison, which subtracts nothing",
    )


class TailUpdate(LowRankUpdate):
    """The update dW = scale * (up @ down - up_0 @ down_0) of a weight (d_out, d_in), which starts at 0.

    Args:
        down: (r, d_in), the initial value of the trained factor.
        up: (d_out, r), the initial value of the trained factor.
        scale: the factor on both products.
        dropout: the probability of dropping a value of the input of the trained product while training.

    Attributes:
        down_0, up_0: frozen copies of the initial factors.
    """

    down_0: Tensor
    up_0: Tensor

    def __init__(self, down: Tensor, up: Tensor, *, scale: float, dropout: float) -> None:
        super().__init__(down, up, None, scale=scale, dropout=dropout, trained=("down", "up"))
        self.register_buffer("down_0", down.clone())
        self.register_buffer("up_0", up.clone())

    def terms(self, first: int) -> list[tuple[Part, Factors]]:
        """Returns dW as its two products, each as a `Part` (rows, scale, dropout) and its factors (down, None, up).

        The first product is scale * up @ down, with dropout of its input in training; the second is -scale * up_0 @
        down_0.

        Args:
            first: the first of the weight's rows that the update covers; it covers d_out rows.
        """
        rows = slice(first, first + len(self.up))
        return [*super().terms(first), (Part(rows, -self.scale, 0.0), (self.down_0, None, self.up_0))]


class Plugin(LowRankPlugin):
    """MiLoRA: trains a low-rank update that starts from the weight's smallest singular triplets.

    After the task the update is merged into the weight.
    """

    settings: Settings

    def make_update(self, weight: Tensor) -> LowRankUpdate:
        """Returns the update of a weight that starts from the weight's `rank` smallest singular triplets.

        The factors start as up_0 = U_r S_r^(1/2) and down_0 = S_r^(1/2) V_r^T, and both are trained; r is the smaller of
        `rank` and min(d_out, d_in). With s = alpha / sqrt(r), dW = s (up @ down - up_0 @ down_0) for the variant
        `original`, and dW = s up @ down for `released`.

        Args:
            weight: (d_out, d_in), the weight to be updated.
        """
        settings = self.settings
        decomposition = self.decompose(weight)
        rank = largest(settings, weight)
        u, vh = choose(decomposition, rank, "tail")
        root = decomposition.s[-rank:].sqrt()  # (r,)
        down, up = root[:, None] * vh, u * root
        factor = scale(settings, weight)
        if settings.variant == "original":
            return TailUpdate(down, up, scale=factor, dropout=settings.dropout)
        return LowRankUpdate(down, up, None, scale=factor, dropout=settings.dropout, trained=("down", "up"))
