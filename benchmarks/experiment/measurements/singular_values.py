"""The singular values of each weight matrix, before any training and after the last task."""

from collections.abc import Iterator
from typing import Any

from benchmarks.experiment.measurements.base import Measurement, RunState
from benchmarks.experiment.measurements.spectrum import KEY_COLUMNS, KEYS, keys_of, matrices_of
from benchmarks.runs.columns import Column


class Meter(Measurement):
    """Measures the singular values of each weight matrix: one row of `spectrum.csv` for each.

    The table has as many numbered columns as the largest matrix has singular values.
    """

    table = "spectrum"
    keys = KEYS
    columns = (
        *KEY_COLUMNS,
        Column("1, 2, ...", "number", "singular values in falling order, six digits; empty where a matrix has fewer"),
    )
    cadence = "ends"
    number_format = "%.6g"

    def measure(self, run: RunState) -> Iterator[dict[str, Any]]:
        """Yields one row for each weight matrix: its singular values in falling order.

        A row has `after` (number of tasks learned), `tower`, `block` and `matrix` (see `keys_of`), and `1`, `2`, ... for
        the values.

        Args:
            run: the state of the run.
        """
        for matrix in matrices_of(run):
            made, _ = run.strategy.decompositions.of(matrix.weight())
            values = enumerate(made.decomposition.s.tolist(), start=1)
            yield {**keys_of(matrix, run.learned), **{str(place): value for place, value in values}}
