"""The mathematics of a weight's principal and null space: decomposition, ranks, choice of directions."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor


Directions = Literal["tail", "top", "random"]


class Decomposition(NamedTuple):
    """W = U diag(S) Vh with n = min(d_out, d_in) singular values in falling order.

    Attributes:
        u: (d_out, n), orthonormal columns.
        s: (n,).
        vh: (n, d_in), orthonormal rows.
    """

    u: Tensor
    s: Tensor
    vh: Tensor


def decompose(weight: Tensor) -> Decomposition:
    """Full (thin) SVD in float32 of a weight (d_out, d_in), on its device (NuSA-CL, section 3; released code: float32)."""
    return Decomposition(*torch.linalg.svd(weight.detach().float(), full_matrices=False))


def energy_rank(s: Tensor, rho: float) -> int:
    """Principal rank k: the least count whose squared singular values sum to at least `rho` of the total.

    Args:
        s: (n,) singular values in falling order.
        rho: energy share in (0, 1).

    Returns:
        k in 1..n. In float64, so that the sum's rounding does not decide.
    """
    energy = s.double().square()
    reached = torch.cumsum(energy, dim=0) >= rho * energy.sum()
    return min(int((~reached).sum()) + 1, len(s))


def entropy_rank(s: Tensor) -> float:
    """Effective rank of Roy and Vetterli (2007): exp of the Shannon entropy of the singular values scaled to sum 1.

    Args:
        s: (n,) singular values.
    """
    if not s.any():
        return 0.0  # a weight of zeros spans nothing
    share = s.double() / s.double().sum()
    return float(torch.exp(torch.special.entr(share).sum()))


def choose(decomposition: Decomposition, count: int, directions: Directions) -> tuple[Tensor, Tensor]:
    """`count` singular directions of a weight: the smallest (`tail`), the largest (`top`), or any (`random`).

    Returns:
        u (d_out, count) and vh (count, d_in), copies that do not hold on to the full bases.
    """
    n = len(decomposition.s)
    if directions == "random":
        # Drawn on the CPU: the same choice on every device.
        index = torch.randperm(n)[:count].sort().values.to(decomposition.s.device)
    else:
        index = torch.arange(n, device=decomposition.s.device)[-count:] if directions == "tail" else torch.arange(count)
    return decomposition.u[:, index].contiguous(), decomposition.vh[index].contiguous()
