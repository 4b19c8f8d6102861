"""How much the last task changed each weight matrix, and how much of the change lies in its principal directions."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from benchmarks.experiment.measurements.base import Measurement, RunState
from benchmarks.experiment.measurements.changes import Principal, change, principal
from benchmarks.experiment.measurements.spectrum import KEYS, keys_of, matrices_of
from benchmarks.runs.columns import Column
from strategies.clip.weight_matrices import WeightMatrix
from strategies.numerics.precision import full_precision


def interference(before: Principal, delta: Tensor) -> tuple[float | None, float | None]:
    """Returns || U_p^T dW || / || dW || and || dW V_p || / || dW || (Frobenius norms), or None, None if dW is zero.

    Both lie in 0..1; 0 means that the update leaves the principal output (left) or input (right) directions unchanged.

    Args:
        before: the weight before the task, with its principal directions U_p and V_p.
        delta: dW (d_out, d_in), the change of the weight since then.
    """
    norm = delta.norm().item()
    if norm == 0:
        return None, None
    u, vh = before.u.to(delta.device), before.vh.to(delta.device)
    return (u.T @ delta).norm().item() / norm, (delta @ vh.T).norm().item() / norm


class Meter(Measurement):
    """Measures how much each weight matrix's last update changes the principal directions from before the task.

    It fills columns of `rank.csv`: the update's norm, and its shares in these directions.

    Attributes:
        before: by weight matrix, its values at the last evaluation and their principal directions; empty before the
            first evaluation.
    """

    table = "rank"
    keys = KEYS
    columns = (
        Column("update_norm", "number", "Frobenius norm of the change dW since the state before; empty in state 0"),
        Column(
            "interference_left",
            "number",
            "norm of U_p^T dW over norm of dW, U_p the principal left directions before the task; empty without a change",
        ),
        Column(
            "interference_right",
            "number",
            "norm of dW V_p over norm of dW, V_p the principal right directions before the task; empty without a change",
        ),
        Column("interference", "number", "the larger of both; 0 leaves the principal directions alone"),
    )
    turn = 1  # after the spectrum, which computes the decompositions that this one uses

    def __init__(self) -> None:
        self.before: dict[WeightMatrix, Principal] = {}

    def on_run_begin(self, run: RunState) -> None:
        """Stores the weights of the checkpoint as those before the next task, if the run is resumed."""
        if run.resumed:
            self.before = principal(run)

    def measure(self, run: RunState) -> Iterator[dict[str, Any]]:
        """Yields one row for each weight matrix and stores the weights for the next task.

        A row has `after` (number of tasks learned), `tower`, `block` and `matrix` (see `keys_of`), and further
        `update_norm`, the Frobenius norm of the change dW since the last evaluation; `interference_left` and
        `interference_right`, the shares of that norm in the principal output and input directions, 0..1; and
        `interference`, the larger of both. All four are None before any training, and the last three also where dW is
        zero.

        Args:
            run: the state of the run.
        """
        with full_precision():
            yield from [self._row(matrix, run.learned) for matrix in matrices_of(run)]
            self.before = principal(run)

    def _row(self, matrix: WeightMatrix, after: int) -> dict[str, Any]:
        left = right = norm = None
        if matrix in self.before:
            delta = change(matrix, self.before[matrix])
            norm = delta.norm().item()
            left, right = interference(self.before[matrix], delta)
        return {
            **keys_of(matrix, after),
            "update_norm": norm,
            "interference_left": left,
            "interference_right": right,
            "interference": None if left is None or right is None else max(left, right),
        }
