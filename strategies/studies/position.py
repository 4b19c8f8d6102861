"""NuSA-CL's update in one decile of a weight's singular directions, in place of the smallest.

Before each task every adapted matrix W (d_out, d_in) is decomposed, W = U S V^T with n = min(d_out, d_in) singular values in
falling order. Decile j of 1..10 has the singular directions floor(n (j - 1) / 10) + 1 to floor(n j / 10), on both sides: decile
1 has the largest, decile 10 the smallest. The r = min(rank, floor(n / 10)) smallest of the decile carry the update

    dW = alpha / sqrt(rank) * U_j M V_j^T        U_j (d_out, r), V_j (d_in, r) frozen, M (r, r) trained from zero.

So r is the same in all deciles, and where n / 10 is no whole number the first direction of a larger decile is left out. All
else is NuSA-CL's: merging after the task, scale, dropout, matrices. Decile 10 is NuSA-CL of the same rank, bit for bit, where
its null space has as many directions.
"""

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import ORANGE, About
from strategies.shared.low_rank import LowRankPlugin, LowRankUpdate, between
from strategies.shared.settings import LowRankSettings


ABOUT = About(name="NuSA-CL in a decile", reference="this project's study `position`", colour=ORANGE, marker="^")


@dataclass(frozen=True)
class Settings(LowRankSettings):
    """Settings of NuSA-CL in a decile: those of all low-rank methods, and the decile.

    Attributes:
        decile: which tenth of the singular directions carries the update, 1 for the largest values to 10 for the smallest.
    """

    decile: int = Field(default=10, ge=1, le=10, description="tenth of the singular directions, 10 the smallest values")


class Plugin(LowRankPlugin):
    """Trains an update of each chosen matrix in one decile of its singular directions, and merges it after the task."""

    settings: Settings
    why_none = "fewer than ten singular directions"
    limited_by = "directions in a decile"

    def make_update(self, weight: Tensor) -> LowRankUpdate | None:
        """Returns the update of a weight in the decile, or None if the weight has fewer than ten singular directions.

        Args:
            weight: (d_out, d_in), the weight to be updated.
        """
        found, settings = self.decompose(weight), self.settings
        n = len(found.s)
        rank, end = min(settings.rank, n // 10), n * settings.decile // 10
        if rank == 0:
            return None
        some = slice(end - rank, end)
        return between(found.u[:, some].contiguous(), found.vh[some].contiguous(), weight, settings)
