"""The principal and the null space of a weight matrix: decomposition, ranks, choice of directions."""

import time
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from strategies.numerics.precision import full_precision
from strategies.numerics.svd import route


Directions = Literal["tail", "top", "random"]


class Decomposition(NamedTuple):
    """The thin SVD W = U diag(S) Vh of a weight (d_out, d_in), with n = min(d_out, d_in).

    Attributes:
        u: (d_out, n), orthonormal columns.
        s: (n,), the singular values in falling order.
        vh: (n, d_in), orthonormal rows.
    """

    u: Tensor
    s: Tensor
    vh: Tensor


def decompose(weight: Tensor) -> Decomposition:
    """Returns the thin SVD of a weight (d_out, d_in), computed in float32 on the weight's device.

    All min(d_out, d_in) singular values are in it. Source: NuSA-CL, section 3; the released code uses float32 too.
    """
    with full_precision():
        weight = weight.detach().float()
        return Decomposition(*(factor.to(weight.device) for factor in route(weight)(weight)))


class Made(NamedTuple):
    """A decomposition made for the cache `Decompositions`.

    Attributes:
        weight: a copy, on the CPU, of the weight (d_out, d_in) that was decomposed.
        decomposition: its SVD, on the CPU.
        seconds: the seconds that the SVD and its copy to the CPU took.
    """

    weight: Tensor
    decomposition: Decomposition
    seconds: float


class Decompositions:
    """A cache of the SVDs of weight matrices: a matrix is decomposed again only if it has changed.

    Before a task, a method decomposes the same weights that the measurements decomposed after the previous task.
    Entries lie on the CPU, with a copy of the weight that each belongs to, so that the device's memory is free for
    training.

    Args:
        keep: whether anything is cached; if False, every request computes a new SVD.
    """

    def __init__(self, *, keep: bool) -> None:
        self.keep = keep
        self._made: dict[tuple[int, torch.Size], Made] = {}  # by the weight's address and shape

    def of(self, weight: Tensor) -> tuple[Made, bool]:
        """Returns the SVD of a weight, with the seconds that making it took, and whether it was found in the cache.

        Args:
            weight: (d_out, d_in).
        """
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
    """Returns the principal rank k: the least count of largest singular values with at least `rho` of the energy.

    The energy is the sum of the squared singular values. The sum is taken in float64, so that its rounding does not
    decide the rank.

    Args:
        s: (n,), the singular values in falling order.
        rho: the share of the energy, in (0, 1).

    Returns:
        k in 1..n.
    """
    energy = s.double().square()
    reached = torch.cumsum(energy, dim=0) >= rho * energy.sum()
    return min(int((~reached).sum()) + 1, len(s))


def entropy_rank(s: Tensor) -> float:
    """Returns the effective rank of Roy and Vetterli (2007): exp of the entropy of the singular values, in 1..n.

    The singular values are scaled to sum 1, and the entropy is Shannon's with the natural logarithm. The result is 0
    where all singular values are 0.

    Args:
        s: (n,), the singular values.
    """
    if not s.any():
        return 0.0  # a weight of zeros spans nothing
    share = s.double() / s.double().sum()
    return float(torch.exp(torch.special.entr(share).sum()))


def choose(decomposition: Decomposition, count: int, directions: Directions) -> tuple[Tensor, Tensor]:
    """Chooses `count` singular directions of a weight (d_out, d_in): the smallest, the largest, or random ones.

    Args:
        decomposition: the weight's SVD.
        count: the number of directions.
        directions: `tail` for the smallest singular values, `top` for the largest, `random` for a draw from torch's
            global generator.

    Returns:
        u (d_out, count) and vh (count, d_in), in falling order of the singular values; copies, so that the full bases
        can be freed.
    """
    n = len(decomposition.s)
    if directions == "random":
        # Drawn on the CPU, so that the choice is the same on every device.
        index = torch.randperm(n)[:count].sort().values.to(decomposition.s.device)
    else:
        index = torch.arange(n, device=decomposition.s.device)[-count:] if directions == "tail" else torch.arange(count)
    return decomposition.u[:, index].contiguous(), decomposition.vh[index].contiguous()
