"""Where in the spectrum of each weight the last task's change lies: principal directions or tail, on either side.

W = U S V^T (d_out, d_in) is a weight before the task and dW its change by the task. U_k (d_out, k) and V_k (d_in, k) are the
singular vectors of its k largest singular values, k the least number whose squares hold the share `rho` of all squares, as
in `rank.csv`. With the projections P = U_k U_k^T and Q = V_k V_k^T,

    dW = P dW Q + P dW (1 - Q) + (1 - P) dW Q + (1 - P) dW (1 - Q)

has four parts that are orthogonal to each other. Each column is the Frobenius norm of a part over that of dW, in 0..1; the
squares of the four sum to 1. The tail of a side is all that is orthogonal to its principal directions, also where the matrix
is not square and has fewer singular vectors than values on that side. An update that is confined to the null space on both
sides, as NuSA-CL's is, has `tail_tail` 1 and the others 0; one confined on the left alone has two that are not 0. The columns
`interference_left` and `interference_right` of `rank.csv` follow: they are the roots of the sums of two squares.

Source: the approximate null space of Jo and Kim, arXiv 2510.21175, section 3; the split into four is this project's.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from benchmarks.experiment.measurements.changes import ChangeMeter, Principal
from benchmarks.experiment.measurements.spectrum import KEY_COLUMNS
from benchmarks.runs.columns import Column
from strategies.clip.weight_matrices import WeightMatrix


PARTS = ("principal_principal", "principal_tail", "tail_principal", "tail_tail")  # the left side, then the right


def shares(change: Tensor, u: Tensor, vh: Tensor) -> dict[str, float | None]:
    """Returns the shares of a matrix's norm in its four parts, by the names in `PARTS`; None for a matrix of zeros.

    Args:
        change: (d_out, d_in).
        u: (d_out, k), orthonormal columns, the principal directions on the left.
        vh: (k, d_in), orthonormal rows, those on the right.
    """
    u, vh = u.to(change.device), vh.to(change.device)
    norm = change.norm().item()
    if norm == 0:
        return dict.fromkeys(PARTS)
    left, right = u.T @ change, change @ vh.T  # (k, d_in), (d_out, k)
    both = left @ vh.T  # (k, k)
    parts = both, left - both @ vh, right - u @ both, change - u @ left - (right - u @ both) @ vh
    return {name: part.norm().item() / norm for name, part in zip(PARTS, parts, strict=True)}


class Meter(ChangeMeter):
    """Measures the shares of each matrix's last change in principal directions and tail: one row of `energy_shares.csv`."""

    table = "energy_shares"
    columns = (
        *KEY_COLUMNS,
        Column(
            "principal_principal",
            "number",
            "share of dW's norm in principal directions on both sides, 0 to 1; all are empty without a change",
            since="1.1",
        ),
        Column("principal_tail", "number", "share in principal output directions and the inputs' tail", since="1.1"),
        Column("tail_principal", "number", "share in the outputs' tail and principal input directions", since="1.1"),
        Column("tail_tail", "number", "share in the tail on both sides", since="1.1"),
    )
    by_default = False

    def of_change(self, matrix: WeightMatrix, before: Principal, delta: Tensor) -> Mapping[str, Any]:
        """Returns the four shares by the names in `PARTS`, each 0..1, or None for all where dW is zero."""
        return shares(delta, before.u, before.vh)
