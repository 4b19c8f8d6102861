"""Angles between the updates of two tasks: whether a task changes the directions that an earlier one has changed.

dW_s and dW_t (d_out, d_in) are the changes of one weight matrix by the tasks s < t. U_s (d_out, r_s) has the r_s leading left
singular vectors of dW_s, r_s its numerical rank, at most 16; U_t likewise. The singular values c_1 >= c_2 >= ... of U_s^T U_t
are the cosines of the principal angles between the two spaces, and

    largest cosine         c_1, in 0..1: 1 if the spaces share a direction
    mean squared cosine    sum_i c_i^2 / min(r_s, r_t), in 0..1: 0 for orthogonal spaces, 1 where one contains the other.
                           Spaces drawn at random in d dimensions have max(r_s, r_t) / d on average.

The same for the right singular vectors. The numerical rank is the number of singular values above
max(d_out, d_in) * eps * max(||dW||_2, ||W||_2), eps = 1.2e-7 of float32: what rounding the weights leaves in their difference
is below.

Of each task's updates only the bases are kept, on the CPU, not the updates. A checkpoint does not have them: a run that was
resumed or extended has no rows for pairs whose earlier task was learned before that, and all others.

Source: Björck and Golub, Math. Comp. 1973 (principal angles); the mean squared cosine is the subspace similarity of Hu et
al., LoRA, arXiv 2106.09685, section 7.2.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.experiment.measurements.base import Measurement, RunState
from benchmarks.experiment.measurements.changes import Principal, change, principal
from benchmarks.experiment.measurements.spectrum import keys_of
from benchmarks.runs.columns import Column
from strategies.clip.weight_matrices import WeightMatrix
from strategies.numerics.precision import full_precision
from strategies.numerics.subspace import decompose


LARGEST = 16  # directions of an update


class Bases(NamedTuple):
    """The leading directions of an update, on the CPU.

    Attributes:
        left: (d_out, r), orthonormal columns.
        right: (d_in, r), orthonormal columns.
    """

    left: Tensor
    right: Tensor


def bases(delta: Tensor, weight: Tensor) -> Bases:
    """Returns the leading singular vectors of an update, as many as its numerical rank, at most 16; none of zeros.

    Args:
        delta: dW (d_out, d_in).
        weight: W (d_out, d_in), whose rounding bounds what of dW counts.
    """
    u, s, vh = decompose(delta)
    least = (
        max(delta.shape) * torch.finfo(torch.float32).eps * max(s[0].item(), torch.linalg.matrix_norm(weight, 2).item())
    )
    rank = min(int((s > least).sum()), LARGEST)
    return Bases(u[:, :rank].to("cpu", copy=True), vh[:rank].T.to("cpu", copy=True))


def cosines(some: Tensor, others: Tensor) -> tuple[float, float]:
    """Returns the largest and the mean squared cosine of the principal angles between two spaces, each 0..1.

    Args:
        some: (d, r), r >= 1 orthonormal columns.
        others: (d, r'), r' >= 1 orthonormal columns.
    """
    found = torch.linalg.svdvals(some.double().T @ others.double()).clamp(max=1)  # (min(r, r'),)
    return found[0].item(), found.square().mean().item()


class Meter(Measurement):
    """Measures the angles between each task's update and those of all earlier tasks: a row for each pair and matrix.

    A matrix that one of the two tasks did not change has no row.
    """

    table = "task_angles"
    keys = ("after", "earlier", "tower", "block", "matrix")
    columns = (
        Column("after", "integer", "number of the later task, from 2: the number of tasks learned", since="1.1"),
        Column("earlier", "integer", "number of the earlier task, from 1", since="1.1"),
        Column("tower", "text", "`image` or `text`", since="1.1"),
        Column("block", "integer", "transformer block, from 0", since="1.1"),
        Column("matrix", "text", "`q`, `k`, `v`, `o` of the attention; `fc`, `proj` of the MLP", since="1.1"),
        Column("rank", "integer", "directions of the later task's update, at most 16", "directions", since="1.1"),
        Column("earlier_rank", "integer", "directions of the earlier one's, at most 16", "directions", since="1.1"),
        Column(
            "left_largest", "number", "largest cosine of the principal angles, output directions, 0 to 1", since="1.1"
        ),
        Column("left_mean_squared", "number", "mean squared cosine, output directions, 0 to 1", since="1.1"),
        Column("right_largest", "number", "largest cosine, input directions, 0 to 1", since="1.1"),
        Column("right_mean_squared", "number", "mean squared cosine, input directions, 0 to 1", since="1.1"),
    )
    by_default = False
    turn = 1  # after the spectrum, which computes the decompositions that `principal` reads

    def __init__(self) -> None:
        self._before: dict[WeightMatrix, Principal] = {}
        self._of: dict[int, dict[WeightMatrix, Bases]] = {}  # by the task's number, from 1

    def on_run_begin(self, run: RunState) -> None:
        """Stores the weights of the checkpoint as those before the next task, if the run is resumed."""
        if run.resumed:
            self._before = principal(run)

    def measure(self, run: RunState) -> Iterator[dict[str, Any]]:
        """Yields one row for each earlier task and each weight matrix that both tasks changed.

        A row has `after` and `earlier`, the two tasks' numbers, `tower`, `block` and `matrix` (see `keys_of`), the two
        ranks, and the largest and the mean squared cosine on either side.

        Args:
            run: the state of the run.
        """
        with full_precision():
            now = {each: bases(change(each, before), each.weight().detach()) for each, before in self._before.items()}
        for earlier, those in self._of.items():
            for matrix, found in now.items():
                if found.left.shape[1] and those[matrix].left.shape[1]:
                    yield {**keys_of(matrix, run.learned), "earlier": earlier, **_row(found, those[matrix])}
        if now:
            self._of[run.learned] = now
        self._before = principal(run)


def _row(now: Bases, earlier: Bases) -> dict[str, Any]:
    (left, left_squared), (right, right_squared) = (cosines(*pair) for pair in zip(now, earlier, strict=True))
    return {
        "rank": now.left.shape[1],
        "earlier_rank": earlier.left.shape[1],
        "left_largest": left,
        "left_mean_squared": left_squared,
        "right_largest": right,
        "right_mean_squared": right_squared,
    }
