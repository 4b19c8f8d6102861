"""The effective rank of each weight matrix after every task, by energy and by entropy."""

from collections.abc import Iterator
from typing import Any

from benchmarks.experiment.measurements.base import Measurement, RunState
from benchmarks.runs.columns import Column
from strategies.clip.weight_matrices import WeightMatrix, weight_matrices
from strategies.numerics.precision import full_precision
from strategies.numerics.subspace import energy_rank, entropy_rank


KEYS = ("after", "tower", "block", "matrix")
KEY_COLUMNS = (
    Column("after", "integer", "state: the number of tasks learned, 0 to T"),
    Column("tower", "text", "`image` or `text`"),
    Column("block", "integer", "transformer block, from 0"),
    Column("matrix", "text", "`q`, `k`, `v`, `o` of the attention; `fc`, `proj` of the MLP"),
)


def matrices_of(run: RunState) -> list[WeightMatrix]:
    """Returns the weight matrices that are measured, of all blocks of both towers.

    They are q, k, v and o of the attention for every method, and those of the MLP if the method adapts them.

    Args:
        run: the state of the run, whose model and method decide.
    """
    return weight_matrices(run.model.clip, "both", run.strategy.matrices)


def keys_of(matrix: WeightMatrix, after: int) -> dict[str, Any]:
    """Returns the columns that identify a matrix's row: `after`, `tower` (`image` or `text`), `block` and `matrix`.

    `block` is the transformer block, counted from 0; `matrix` is `q`, `k`, `v` or `o` of the attention, or `fc` or
    `proj` of the MLP.

    Args:
        matrix: the weight matrix.
        after: number of tasks learned, the value of `after`.
    """
    return {"after": after, "tower": matrix.tower, "block": matrix.block, "matrix": matrix.matrix}


class Meter(Measurement):
    """Measures ranks of each weight matrix from its singular values: one row of `rank.csv` for each.

    The method's attribute `rho`, 0 to 1, is the share of the energy (sum of squared singular values) that is called
    principal.
    """

    table = "rank"
    keys = KEYS
    columns = (
        *KEY_COLUMNS,
        Column("dim", "integer", "the smaller side of the matrix: the number of its singular values", "directions"),
        Column("rho", "number", "share of the energy (sum of squared singular values) that is called principal"),
        Column(
            "energy_rank",
            "integer",
            "least number of largest singular values whose squares sum to `rho` of the total",
            "directions",
        ),
        Column("energy_share", "number", "`energy_rank` / `dim`, 0 to 1: the effective rank of the NuSA-CL paper"),
        Column(
            "effective_rank",
            "number",
            "entropy rank of Roy and Vetterli (2007): exp of the entropy of the singular values scaled to sum 1",
            "directions",
        ),
        Column("null_directions", "integer", "`dim` - `energy_rank`", "directions"),
    )

    def measure(self, run: RunState) -> Iterator[dict[str, Any]]:
        """Yields one row for each weight matrix.

        A row has `after` (number of tasks learned), `tower`, `block` and `matrix` (see `keys_of`), and further `dim`,
        the number of singular values; `rho`, a share of the energy (sum of squared singular values); `energy_rank`, the
        least number of largest singular values with this share; `energy_share`, `energy_rank` / `dim`;
        `effective_rank`, exp of the entropy of the singular values scaled to sum 1; and `null_directions`, `dim` -
        `energy_rank`.

        Args:
            run: the state of the run.
        """
        with full_precision():
            for matrix in matrices_of(run):
                made, _ = run.strategy.decompositions.of(matrix.weight())
                values, rho = made.decomposition.s, run.strategy.rho  # (n,)
                dim, k = len(values), energy_rank(values, rho)
                yield {
                    **keys_of(matrix, run.learned),
                    "dim": dim,
                    "rho": rho,
                    "energy_rank": k,
                    "energy_share": k / dim,
                    "effective_rank": entropy_rank(values),
                    "null_directions": dim - k,
                }
