"""How much the last task changed each weight matrix, and how much of that fell into what was there before."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor

from benchmarks.measurements.base import Measurement, RunState
from benchmarks.measurements.spectrum import KEYS, keys_of, matrices_of
from benchmarks.runs.columns import Column
from strategies.clip.weight_matrices import WeightMatrix
from strategies.numerics.precision import full_precision
from strategies.numerics.subspace import energy_rank


class Principal(NamedTuple):
    """A weight (d_out, d_in) as it was, with the k directions that hold its energy: u (d_out, k), vh (k, d_in); on the host."""

    weight: Tensor
    u: Tensor
    vh: Tensor


def interference(before: Principal, delta: Tensor) -> tuple[float | None, float | None]:
    """|| U_p^T dW || / || dW || and || dW V_p || / || dW || (Frobenius norms) of an update dW (d_out, d_in).

    Both lie in 0..1; 0 means that the update leaves the principal output (left) or input (right) directions alone. None where
    nothing changed.
    """
    norm = delta.norm().item()
    if norm == 0:
        return None, None
    u, vh = before.u.to(delta.device), before.vh.to(delta.device)
    return (u.T @ delta).norm().item() / norm, (delta @ vh.T).norm().item() / norm


class Meter(Measurement):
    """The size of the last update of each weight matrix, and its share in the principal directions of the state before."""

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
    turn = 1  # by then the spectrum has decomposed the weights

    def __init__(self) -> None:
        self.before: dict[WeightMatrix, Principal] = {}

    def on_run_begin(self, run: RunState) -> None:
        """Where a run goes on, the weights of the checkpoint are those before the next task."""
        if run.resumed:
            self._remember(run)

    def _remember(self, run: RunState) -> None:
        for matrix in matrices_of(run):
            made, _ = run.strategy.decompositions.of(matrix.weight())
            u, s, vh = made.decomposition
            k = energy_rank(s, run.strategy.rho)
            self.before[matrix] = Principal(made.weight, u[:, :k], vh[:k])

    def measure(self, run: RunState) -> Iterator[dict[str, Any]]:
        """One row for each matrix."""
        with full_precision():
            yield from [self._row(matrix, run.learned) for matrix in matrices_of(run)]
            self._remember(run)

    def _row(self, matrix: WeightMatrix, after: int) -> dict[str, Any]:
        left = right = norm = None
        if matrix in self.before:
            weight = matrix.weight().detach()
            delta = weight - self.before[matrix].weight.to(weight.device)
            norm = delta.norm().item()
            left, right = interference(self.before[matrix], delta)
        return {
            **keys_of(matrix, after),
            "update_norm": norm,
            "interference_left": left,
            "interference_right": right,
            "interference": None if left is None or right is None else max(left, right),
        }
