"""Norms of the weight matrices."""

from benchmarks.experiment.measurements.base import Measurement
from benchmarks.experiment.measurements.spectrum import KEY_COLUMNS, KEYS, keys_of, matrices_of
from benchmarks.runs.columns import Column


class Meter(Measurement):
    table = "norms"
    keys = KEYS
    columns = (*KEY_COLUMNS, Column("norm", "number", "Frobenius norm of the matrix"))

    def measure(self, run):
        for matrix in matrices_of(run):
            yield {**keys_of(matrix, run.learned), "norm": matrix.weight().norm().item()}
