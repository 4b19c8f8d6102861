"""Intruder dimensions: leading singular vectors of a weight that are like none of the weight before the first task.

For a weight W (d_out, d_in) after a task, with left singular vectors u_1, u_2, ... in falling order of singular values, and
U_0 (d_out, n) all n = min(d_out, d_in) of the weight before the first task: u_i is an intruder if its largest absolute cosine
with a column of U_0 is below 0.5. They are counted among the ten leading ones (all, where there are fewer than ten).

The causal check of the paper scales the singular values of the intruders by a factor, 0.7 there, and tests the model again:
`scaled` returns such a weight.

Two limits. Where singular values nearly coincide, the vectors of their common space are arbitrary, and a small change may
turn them into intruders without any new direction. And a vector that is spread evenly over many old directions counts as an
intruder, though it is in their span.

Source: Shuttleworth et al., LoRA vs Full Fine-tuning: An Illusion of Equivalence, arXiv 2410.21228, sections 3 and 4.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.experiment.measurements.base import Given, Measurement, RunState
from benchmarks.experiment.measurements.spectrum import KEY_COLUMNS, KEYS, keys_of, matrices_of
from benchmarks.runs.columns import Column
from strategies.clip.weight_matrices import WeightMatrix, weight_matrices
from strategies.numerics.precision import full_precision
from strategies.numerics.subspace import Decomposition


LEADING = 10  # singular vectors that are looked at
LEAST = 0.5  # largest absolute cosine of a vector that is no intruder
FACTOR = 0.7  # on an intruder's singular value, in the paper's check


def best_cosines(u: Tensor, before: Tensor, leading: int = LEADING) -> Tensor:
    """Returns the largest absolute cosine of each of the leading left singular vectors with any from before, (leading,).

    Args:
        u: (d_out, n), the vectors now, orthonormal columns; fewer columns than `leading` give fewer values.
        before: (d_out, n), all from before.
        leading: how many vectors are looked at, from the first.
    """
    with full_precision():
        return (before.T @ u[:, :leading]).abs().amax(dim=0)


def scaled(weight: Tensor, decomposition: Decomposition, intruders: Tensor, factor: float = FACTOR) -> Tensor:
    """Returns a weight (d_out, d_in) with the singular values of some directions scaled, W + (f - 1) sum_i s_i u_i v_i^T.

    Args:
        weight: W (d_out, d_in).
        decomposition: its thin SVD.
        intruders: the directions i, int64 indices, or (n,) truth values.
        factor: f; 1 leaves the weight as it is, and 0 takes these directions out.
    """
    u, s, vh = (factor_.to(weight.device) for factor_ in decomposition)
    with full_precision():
        return weight + (factor - 1) * (u[:, intruders] * s[intruders]) @ vh[intruders]


class Meter(Measurement):
    """Counts the intruders of each weight matrix: one row of `intruders.csv` for each matrix after each task.

    It keeps the left singular vectors of all measured matrices from before the first task, on the CPU. A resumed run
    takes them from the untrained model again.
    """

    table = "intruders"
    keys = KEYS
    columns = (
        *KEY_COLUMNS,
        Column(
            "intruders",
            "integer",
            "of the ten leading left singular vectors those whose best |cosine| with any before the first task is below 0.5",
            "directions",
            since="1.1",
        ),
        Column(
            "least_cosine",
            "number",
            "the least of the ten best |cosines|, 0 to 1; 1 for unchanged vectors",
            since="1.1",
        ),
    )
    by_default = False
    turn = 1  # after the spectrum, which computes the decompositions that this one uses

    def __init__(self) -> None:
        self._before: dict[WeightMatrix, Tensor] = {}  # (d_out, n) each

    def prepare(self, given: Given) -> None:
        """Stores the left singular vectors of the weights before any training."""
        plugin = given.strategy
        for matrix in weight_matrices(given.model.clip, "both", plugin.matrices):
            made, _ = plugin.decompositions.of(matrix.weight())
            self._before[matrix] = made.decomposition.u

    def measure(self, run: RunState) -> Iterator[dict[str, Any]]:
        """Yields one row for each weight matrix after a task, none before any training.

        A row has `after` (number of tasks learned), `tower`, `block` and `matrix` (see `keys_of`), `intruders`, 0 to 10,
        and `least_cosine`, 0 to 1.

        Args:
            run: the state of the run.
        """
        for matrix in matrices_of(run) if run.learned else ():
            made, _ = run.strategy.decompositions.of(matrix.weight())
            cosines = best_cosines(made.decomposition.u, self._before[matrix])
            yield {
                **keys_of(matrix, run.learned),
                "intruders": int((cosines < LEAST).sum()),
                "least_cosine": torch.clamp(cosines.min(), max=1).item(),
            }
