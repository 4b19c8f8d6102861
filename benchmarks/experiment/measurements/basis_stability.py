"""Whether the tail that was fixed before a task is still the weight's tail while the task is learned.

A method such as NuSA-CL decomposes each weight once, before the task, and confines the update to the directions found then.
This looks at the weight as it is during training, W + dW with the current update dW, and compares. W = U S V^T (d_out, d_in)
is the weight before the task, n = min(d_out, d_in), and k its principal rank: the least number of largest singular values
whose squares hold the share `rho` of all squares. T (d, n - k) are the tail directions k + 1, ..., n of one side, from before
the task, and T' those of W + dW, with the same k. The sines of the n - k principal angles between them are the singular
values of (1 - T T^T) T':

    angle           the largest principal angle, in degrees, 0..90: 0 if the tail is the same
    squared sine    the mean of the squared sines, 0..1: the share of the tail that has left the frozen one

on the left (outputs) and on the right (inputs). The singular values s' of W + dW are compared with s at the same place:
max_i |s'_i - s_i| / s_i over the principal ones (i <= k) and over the tail (i > k). Values of the tail may be near zero, and
their relative change any number.

It is taken about ten times a task, at every (steps / 10)-th step, rounded up, and the last. Each time takes one SVD for every
matrix. Low-rank updates are counted without dropout; of methods that train the weights themselves the weights are read.
Nothing random is drawn, and training goes on as without it. The angle of the whole tail can be large though little happened:
where s_k and s_(k+1) nearly coincide, a small change swaps their directions. The mean squared sine counts one such swap as
1 / (n - k).

Source: the "SVD stability" of Jo and Kim, arXiv 2510.21175, which asks how often the basis has to be renewed; Björck and
Golub, Math. Comp. 1973 (principal angles by sines, which do not lose small angles).
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.experiment.measurements.base import Measurement, RunState
from benchmarks.experiment.measurements.spectrum import matrices_of
from benchmarks.runs.columns import Column
from strategies.clip.weight_matrices import WeightMatrix
from strategies.numerics.precision import full_precision
from strategies.numerics.subspace import Decomposition, decompose, energy_rank
from strategies.shared.low_rank import UpdatePlugin


TIMES = 10  # in each task


def turned(frozen: Tensor, now: Tensor) -> tuple[float, float]:
    """Returns the largest principal angle between two spaces in degrees, 0..90, and the mean squared sine, 0..1.

    Args:
        frozen: (d, m), m >= 1 orthonormal columns.
        now: (d, m), orthonormal columns.
    """
    left = now - frozen @ (frozen.T @ now)  # (d, m), its singular values are the sines
    largest = min(torch.linalg.matrix_norm(left, 2).item(), 1.0)
    return math.degrees(math.asin(largest)), min(left.square().sum().item() / now.shape[1], 1.0)


def compared(before: Decomposition, now: Decomposition, k: int) -> dict[str, float | None]:
    """Returns what has become of a weight's tail and of its singular values, by column.

    Where there is no tail (k = n) its columns are None; a singular value of 0 is left out of the relative changes.

    Args:
        before: the thin SVD before the task, n directions.
        now: that of the weight as it is, on the same device.
        k: the number of principal directions, 1..n.
    """
    tail = slice(k, None)
    left = right = (None, None)
    if k < len(before.s):
        left = turned(before.u[:, tail], now.u[:, tail])  # type: ignore[assignment]
        right = turned(before.vh[tail].T, now.vh[tail].T)  # type: ignore[assignment]
    return {
        "left_angle": left[0],
        "left_squared_sine": left[1],
        "right_angle": right[0],
        "right_squared_sine": right[1],
        "principal_values": _change(before.s[:k], now.s[:k]),
        "tail_values": _change(before.s[tail], now.s[tail]),
    }


def _change(before: Tensor, now: Tensor) -> float | None:
    """The largest |s' - s| / s of singular values (m,) that are not 0; None for none."""
    some = before > 0
    return ((now - before).abs()[some] / before[some]).max().item() if some.any() else None


class Meter(Measurement):
    """Compares each weight's tail with that before the task, about ten times a task: a row for each time and matrix."""

    table = "basis_stability"
    keys = ("task", "step", "tower", "block", "matrix")
    columns = (
        Column("task", "integer", "number of the task in learning order, from 1", since="1.1"),
        Column("step", "integer", "number of training steps taken in the task, from 1", since="1.1"),
        Column("tower", "text", "`image` or `text`", since="1.1"),
        Column("block", "integer", "transformer block, from 0", since="1.1"),
        Column("matrix", "text", "`q`, `k`, `v`, `o` of the attention; `fc`, `proj` of the MLP", since="1.1"),
        Column(
            "left_angle",
            "number",
            "largest principal angle between the tail's output directions before the task and now; empty without a tail",
            "degrees",
            since="1.1",
        ),
        Column("left_squared_sine", "number", "mean squared sine of these angles, 0 to 1", since="1.1"),
        Column("right_angle", "number", "largest angle of the tail's input directions", "degrees", since="1.1"),
        Column("right_squared_sine", "number", "mean squared sine of these angles, 0 to 1", since="1.1"),
        Column(
            "principal_values", "number", "largest change of a principal singular value over that value", since="1.1"
        ),
        Column("tail_values", "number", "largest change of a singular value of the tail over that value", since="1.1"),
    )
    cadence = "step"
    by_default = False
    number_format = "%.6g"

    def __init__(self) -> None:
        self._weights: dict[WeightMatrix, Tensor] = {}  # (d_out, d_in), views of the model's own
        self._before: dict[WeightMatrix, Decomposition] = {}  # on the CPU

    def on_task_begin(self, run: RunState) -> None:
        """Notes where the weights are, before the method attaches anything, and their decompositions."""
        self._weights = {matrix: matrix.weight().detach() for matrix in matrices_of(run)}
        self._before = {matrix: self._decomposed(run, weight) for matrix, weight in self._weights.items()}

    def _decomposed(self, run: RunState, weight: Tensor) -> Decomposition:
        made, _ = run.strategy.decompositions.of(weight)
        return made.decomposition

    def measure(self, run: RunState) -> Iterator[dict[str, Any]]:
        """Yields one row for each weight matrix at every tenth part of a task, nothing at the other steps.

        A row has `task` and `step`, both from 1, `tower`, `block` and `matrix`, and what `compared` returns.

        Args:
            run: the state of the run, after a training step.
        """
        assert run.task is not None
        step = run.step + 1
        if step % math.ceil(run.steps / TIMES) and step != run.steps:
            return
        updates = run.strategy.updates if isinstance(run.strategy, UpdatePlugin) else {}
        with torch.no_grad(), full_precision():
            for matrix, weight in self._weights.items():
                now = decompose(weight + updates[matrix].delta() if matrix in updates else weight)
                before = Decomposition(*(factor.to(weight.device) for factor in self._before[matrix]))
                yield {
                    "task": run.task + 1,
                    "step": step,
                    "tower": matrix.tower,
                    "block": matrix.block,
                    "matrix": matrix.matrix,
                    **compared(before, now, energy_rank(before.s, run.strategy.rho)),
                }
