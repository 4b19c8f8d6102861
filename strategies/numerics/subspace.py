"""The mathematics of a weight's principal and null space: decomposition, ranks, choice of directions."""

import time
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from strategies.numerics.precision import full_precision
from strategies.numerics.svd import route


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
    with full_precision():
        weight = weight.detach().float()
        return Decomposition(*(factor.to(weight.device) for factor in route(weight)(weight)))


class Made(NamedTuple):
    """A weight as it was, its decomposition, both on the host, and the seconds that this took."""

    weight: Tensor
    decomposition: Decomposition
    seconds: float


class Decompositions:
    """The decomposition of each matrix, made anew only where the weight has changed since.

    A method decomposes before a task what the measurements decomposed after the one before. They lie on the host, with the
    weight that each is of: what is on the device is for training.

    Args:
        keep: whether anything is kept; without, each is made when it is asked for.
    """

    def __init__(self, *, keep: bool) -> None:
        self.keep = keep
        self._made: dict[tuple[int, torch.Size], Made] = {}  # by where the weight lies, and its shape

    def of(self, weight: Tensor) -> tuple[Made, bool]:
        """What is known of a weight (d_out, d_in), and whether it was known already."""
        weight = weight.detach()
        place = weight.data_ptr(), weight.shape
        made = self._made.get(place)
        if made is not None and torch.equal(made.weight, weight.to("cpu")):
            return made, True
        began = time.perf_counter()
        decomposition = Decomposition(*(factor.to("cpu") for factor in decompose(weight)))
        made = Made(weight.to("cpu", copy=True), decomposition, time.perf_counter() - began)
        if self.keep:
            self._made[place] = made
        return made, False


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
