"""The Gram matrix of rows, whose eigenvectors are the directions in which they are large or small."""

import torch
from torch import Tensor

from strategies.numerics.precision import full_precision


@torch.no_grad()
def gram(rows: Tensor) -> Tensor:
    """Returns X^T X (d, d) float64 of rows X (N, d): N times their uncentred covariance.

    The product is taken in float32 without TF32, which spares time; sums of such products do not lose digits in float64.

    Args:
        rows: (N, d), on any device, where the result is too.
    """
    rows = rows.detach().float()
    with full_precision():
        return (rows.T @ rows).double()


def directions(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the eigenvalues (d,) of a Gram matrix in rising order, and its eigenvectors (d, d), both float64.

    The eigenvectors are orthonormal columns, those of the smallest eigenvalues first. Negative eigenvalues, which rounding
    makes of zeros, are returned as 0.

    Args:
        gram: (d, d), symmetric.
    """
    values, vectors = torch.linalg.eigh(gram.double())
    return values.clamp(min=0), vectors
