"""Three ranks of each weight matrix that weigh its singular values differently, after every task.

For the singular values s_1 >= ... >= s_n of a weight (d_out, d_in), n = min(d_out, d_in), in directions:

    stable rank                      ||W||_F^2 / ||W||_2^2 = sum_i s_i^2 / s_1^2
    entropy rank of the values       exp(-sum_i p_i log p_i),  p_i = s_i / sum_j s_j        (`effective_rank` in `rank.csv`)
    entropy rank of the energies     exp(-sum_i q_i log q_i),  q_i = s_i^2 / sum_j s_j^2

All lie in 1..n, are n where all singular values are equal, and 0 for a weight of zeros. The stable rank goes by the largest
value alone; of the two others the first counts small values more. Papers call either of them the effective rank.

Sources: Rudelson and Vershynin, JACM 2007 (stable rank); Roy and Vetterli, EUSIPCO 2007 (entropy rank of the values).
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from benchmarks.experiment.measurements.base import Measurement, RunState
from benchmarks.experiment.measurements.spectrum import KEY_COLUMNS, KEYS, keys_of, matrices_of
from benchmarks.runs.columns import Column
from strategies.numerics.subspace import entropy_rank


def stable_rank(s: Tensor) -> float:
    """Returns sum s^2 / max s^2 of singular values s (n,), in 1..n, or 0 where all are 0."""
    energy = s.double().square()
    return (energy.sum() / energy.max()).item() if energy.any() else 0.0


class Meter(Measurement):
    """Measures three ranks of each weight matrix from its singular values: one row of `spectra.csv` for each."""

    table = "spectra"
    keys = KEYS
    columns = (
        *KEY_COLUMNS,
        Column("stable_rank", "number", "sum of squared singular values over the largest", "directions", since="1.1"),
        Column(
            "entropy_rank_values",
            "number",
            "exp of the entropy of the singular values scaled to sum 1: `effective_rank` of `rank.csv`",
            "directions",
            since="1.1",
        ),
        Column(
            "entropy_rank_energies",
            "number",
            "exp of the entropy of the squared singular values scaled to sum 1",
            "directions",
            since="1.1",
        ),
    )
    by_default = False
    turn = 1  # after the spectrum, which computes the decompositions that this one uses

    def measure(self, run: RunState) -> Iterator[dict[str, Any]]:
        """Yields one row for each weight matrix.

        A row has `after` (number of tasks learned), `tower`, `block` and `matrix` (see `keys_of`), and `stable_rank`,
        `entropy_rank_values` and `entropy_rank_energies`, as above.

        Args:
            run: the state of the run.
        """
        for matrix in matrices_of(run):
            made, _ = run.strategy.decompositions.of(matrix.weight())
            values = made.decomposition.s  # (n,)
            yield {
                **keys_of(matrix, run.learned),
                "stable_rank": stable_rank(values),
                "entropy_rank_values": entropy_rank(values),
                "entropy_rank_energies": entropy_rank(values.double().square()),
            }
