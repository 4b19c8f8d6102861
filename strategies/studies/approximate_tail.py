"""NuSA-CL whose smallest directions come from a cheaper, approximate decomposition.

As NuSA-CL, dW = alpha / sqrt(rank) * U M V^T with M (r, r) trained from zero, but U (d_out, r) and V (d_in, r) are bases of
approximate tails: by `complement` or `inverse` iteration (`strategies.numerics.approximate_tail`). NuSA-CL's rank is r =
min(rank, n - k), which needs all singular values. Here r = rank where these directions hold at most 1 - rho of the energy,
||W V||_F^2 <= (1 - rho) ||W||_F^2: the exact tail holds no more, so that n - k >= r. Where they hold more, and where `inverse`
has none since a weight is not square, the exact decomposition is taken.
"""

import time
from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import GREEN, About
from strategies.numerics.approximate_tail import complement, inverse
from strategies.numerics.subspace import choose, energy_rank
from strategies.shared.low_rank import LowRankPlugin, LowRankUpdate, between, largest
from strategies.shared.settings import LowRankSettings


ABOUT = About(name="NuSA-CL, approximate", reference="this project's study `svd-cost`", colour=GREEN, marker=">")


@dataclass(frozen=True)
class Settings(LowRankSettings):
    """Settings of NuSA-CL with an approximate tail: those of all low-rank methods, the cutoff, and the approximation.

    Attributes:
        rho: the share of the sum of squared singular values that the principal directions hold, as in NuSA-CL.
        algorithm: how the tail is found.
        power: the number of iterations beyond the least.
    """

    rho: float = Field(default=0.95, gt=0, lt=1, description="share of the squared singular values that is knowledge")
    algorithm: Literal["complement", "inverse"] = Field(
        default="inverse", description="how the smallest directions are found"
    )
    power: int = Field(default=2, ge=0, description="iterations beyond the least")


class Plugin(LowRankPlugin):
    """Trains an update of each chosen matrix in an approximate tail, and merges it after the task."""

    settings: Settings
    why_none = "no null direction left"
    limited_by = "null directions"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.rho = settings.rho

    def make_update(self, weight: Tensor) -> LowRankUpdate | None:
        """Returns the update of a weight in its approximate tail, or in the exact one where that is none; None if it is empty.

        Args:
            weight: (d_out, d_in), the weight to be updated.
        """
        u, vh = self._approximate(weight) or self._exact(weight)
        return between(u, vh, weight, self.settings) if len(vh) else None

    def _approximate(self, weight: Tensor) -> tuple[Tensor, Tensor] | None:
        """U (d_out, r) and V^T (r, d_in); None where they hold more of the energy than a tail may."""
        began, settings = time.perf_counter(), self.settings
        if settings.algorithm == "inverse" and weight.shape[0] != weight.shape[1]:
            return None
        find = complement if settings.algorithm == "complement" else inverse
        u, vh = find(weight, largest(settings, weight), settings.power)
        held = (weight @ vh.T).double().square().sum()
        self.decomposition_seconds += time.perf_counter() - began
        return (u, vh) if held <= (1 - settings.rho) * weight.double().square().sum() else None

    def _exact(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """NuSA-CL's U (d_out, r) and V^T (r, d_in); r is 0 where there is no null direction."""
        found = self.decompose(weight)
        count = min(len(found.s) - energy_rank(found.s, self.settings.rho), self.settings.rank)
        return choose(found, count, "tail") if count else (found.u[:, :0], found.vh[:0])
