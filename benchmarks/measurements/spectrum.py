"""How full the weights are after each task, and how much the last task touched what was there: rows of `rank.csv`, and the
singular values themselves: rows of `spectrum.csv`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from strategies.clip.weight_matrices import Site, sites
from strategies.numerics.precision import full_precision
from strategies.numerics.subspace import Decompositions, energy_rank, entropy_rank


class Principal(NamedTuple):
    """A weight as it was, with the directions that hold its energy: u (d_out, k), vh (k, d_in); on the host."""

    weight: Tensor
    u: Tensor
    vh: Tensor


def interference(before: Principal, delta: Tensor) -> tuple[float | None, float | None]:
    """|| U_p^T dW || / || dW || and || dW V_p || / || dW || (Frobenius); None where nothing changed.

    Both are in 0..1; 0 means that the update leaves the principal output (left) or input (right) directions alone.
    """
    norm = delta.norm().item()
    if norm == 0:
        return None, None
    u, vh = before.u.to(delta.device), before.vh.to(delta.device)
    return (u.T @ delta).norm().item() / norm, (delta @ vh.T).norm().item() / norm


class SpectrumMeter:
    """Measures all matrices of a model state after state.

    Args:
        clip: the model, between tasks.
        matrices: names as in `strategies.clip.weight_matrices`.
        rho: energy share that is called principal.

    Attributes:
        decompositions: of the weights, for the method too.
    """

    def __init__(self, clip: nn.Module, matrices: Sequence[str], rho: float) -> None:
        self.sites = sites(clip, "both", matrices)
        self.rho, self.decompositions = rho, Decompositions(keep=True)
        self.before: dict[Site, Principal] = {}
        self.values: dict[Site, Tensor] = {}  # (n,) singular values, as last measured

    def remember(self) -> None:
        """Takes the present weights as those before the next task."""
        for site in self.sites:
            self._remember(site)

    def _remember(self, site: Site) -> tuple[Tensor, int]:
        """Singular values (n,) and principal rank of the present weight."""
        made, _ = self.decompositions.of(site.weight())
        u, s, vh = made.decomposition
        k = energy_rank(s, self.rho)
        self.before[site] = Principal(made.weight, u[:, :k], vh[:k])
        return s, k

    def measure(self, after: int) -> list[dict[str, Any]]:
        """One row for each matrix; `after` is the number of tasks learned. The update is that since the last call."""
        with full_precision():
            return [self._measure(site, after) for site in self.sites]

    def spectra(self, after: int) -> list[dict[str, Any]]:
        """The singular values as last measured, in falling order: one row for each matrix."""
        return [
            {"after": after, "tower": site.tower, "block": site.block, "matrix": site.matrix, "values": values.tolist()}
            for site, values in self.values.items()
        ]

    def _measure(self, site: Site, after: int) -> dict[str, Any]:
        left = right = norm = None
        if site in self.before:
            weight = site.weight().detach()
            delta = weight - self.before[site].weight.to(weight.device)
            norm = delta.norm().item()
            left, right = interference(self.before[site], delta)
        values, k = self._remember(site)
        self.values[site], dim = values, len(values)
        return {
            "after": after,
            "tower": site.tower,
            "block": site.block,
            "matrix": site.matrix,
            "dim": dim,
            "rho": self.rho,
            "energy_rank": k,
            "energy_share": k / dim,
            "effective_rank": entropy_rank(values),
            "null_directions": dim - k,
            "update_norm": norm,
            "interference_left": left,
            "interference_right": right,
            "interference": None if left is None or right is None else max(left, right),
        }
