"""A low-rank update that starts from factors which are taken out of the weight, so that the model starts unchanged."""

from torch import Tensor

from strategies.shared.fused_low_rank import Factors, Part
from strategies.shared.low_rank import LowRankUpdate


class ResidualUpdate(LowRankUpdate):
    """The update dW = scale * (up - up_0) @ down of a weight (d_out, d_in), of which only `up` is trained.

    It is what subtracting scale * up_0 @ down from the weight, and training up from up_0 beside it, comes to. But the
    weight does not change until the update is merged, and at the start dW is exactly 0.

    Args:
        down: (r, d_in), frozen.
        up: (d_out, r), the initial value up_0 of the trained factor.
        scale: the factor on the product.
        dropout: the probability of dropping a value of the input while training.

    Attributes:
        up_0: a frozen copy of the initial value of `up`.
    """

    up_0: Tensor

    def __init__(self, down: Tensor, up: Tensor, *, scale: float, dropout: float) -> None:
        super().__init__(down, up, None, scale=scale, dropout=dropout, trained=("up",))
        self.register_buffer("up_0", up.clone())

    def terms(self, first: int) -> list[tuple[Part, Factors]]:
        """Returns dW as one product: a `Part` (rows, scale, dropout) and its factors (down, None, up - up_0).

        Args:
            first: the first of the weight's rows that the update covers; it covers d_out rows.
        """
        ((part, (down, core, up)),) = super().terms(first)
        return [(part, (down, core, up - self.up_0))]
