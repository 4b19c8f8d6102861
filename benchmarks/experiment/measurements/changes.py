"""What measurements of a task's change share: the weights before it, with their principal directions."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from benchmarks.experiment.measurements.base import Measurement, RunState
from benchmarks.experiment.measurements.spectrum import KEYS, keys_of, matrices_of
from strategies.clip.weight_matrices import WeightMatrix
from strategies.numerics.precision import full_precision
from strategies.numerics.subspace import energy_rank


class Principal(NamedTuple):
    """A weight matrix, with the k principal directions that hold a given share of its energy; on the CPU.

    The energy is the sum of the squared singular values.

    Attributes:
        weight: (d_out, d_in).
        u: (d_out, k), the left singular vectors of the k largest singular values, as columns.
        vh: (k, d_in), the right singular vectors, as rows.
    """

    weight: Tensor
    u: Tensor
    vh: Tensor


def principal(run: RunState) -> dict[WeightMatrix, Principal]:
    """Returns the measured weight matrices as they are now, with the principal directions at the method's `rho`.

    Args:
        run: the state of the run; its cached decompositions are used, and not copied.
    """
    found = {}
    for matrix in matrices_of(run):
        made, _ = run.strategy.decompositions.of(matrix.weight())
        u, s, vh = made.decomposition
        k = energy_rank(s, run.strategy.rho)
        found[matrix] = Principal(made.weight, u[:, :k], vh[:k])
    return found


class ChangeMeter(Measurement):
    """Base of measurements of the change dW (d_out, d_in) of each weight matrix by the last task.

    There is a row for each matrix after each task, and none before any training. A run that is resumed goes on with the
    weights of the checkpoint, so that no row is missing.

    Attributes:
        before: by weight matrix, its values at the last evaluation and their principal directions; empty before the first.
    """

    keys = KEYS
    turn = 1  # after the spectrum, which computes the decompositions that this one uses

    def __init__(self) -> None:
        self.before: dict[WeightMatrix, Principal] = {}

    def on_run_begin(self, run: RunState) -> None:
        """Stores the weights of the checkpoint as those before the next task, if the run is resumed."""
        if run.resumed:
            self.before = principal(run)

    def measure(self, run: RunState) -> Iterator[dict[str, Any]]:
        """Yields one row for each weight matrix that there was at the last evaluation, and stores the weights.

        A row has `after` (number of tasks learned), `tower`, `block` and `matrix` (see `keys_of`), and what `of_change`
        returns.

        Args:
            run: the state of the run.
        """
        with full_precision():
            rows = [
                {**keys_of(matrix, run.learned), **self.of_change(matrix, before, change(matrix, before))}
                for matrix, before in self.before.items()
            ]
            self.before = principal(run)
        yield from rows

    def of_change(self, matrix: WeightMatrix, before: Principal, delta: Tensor) -> Mapping[str, Any]:
        """Returns the other columns of a matrix's row.

        Args:
            matrix: the weight matrix.
            before: its weight before the task, with its principal directions.
            delta: dW (d_out, d_in), on the model's device.

        Raises:
            NotImplementedError: the subclass does not define it.
        """
        raise NotImplementedError


def change(matrix: WeightMatrix, before: Principal) -> Tensor:
    """Returns dW (d_out, d_in), a weight matrix as it is now less what it was, on its device.

    Args:
        matrix: the weight matrix.
        before: what it was.
    """
    weight = matrix.weight().detach()
    return weight - before.weight.to(weight.device)
