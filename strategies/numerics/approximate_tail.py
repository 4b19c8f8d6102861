"""The smallest singular directions of a weight without its decomposition: cheaper, and not exact.

W (d_out, d_in) has the singular values s_1 >= ... >= s_n, n = min(d_out, d_in). Its tail of r directions is the span of the r
last left singular vectors, and that of the r last right ones. Two approximations of these spans:

    complement    the orthogonal complement of a randomised range of the n - r largest: V is orthogonal to the columns of
                  (W^T W)^q W^T G with G (d_out, n - r) Gaussian, U to those of (W W^T)^q W G'. Each power q costs two more
                  products, and multiplies the ratios of singular values (Halko, Martinsson and Tropp, SIAM Review 2011).
    inverse       q + 1 steps of inverse iteration on a block: V <- orth(W^-1 W^-T V) from a Gaussian V (d, r), by one LU
                  factorisation of a square W; then U = orth(W^-T V). The smallest singular values are the largest of
                  the inverse (Golub and Van Loan, Matrix Computations, section 8.2). Of a W that is not square, or singular,
                  there is none.

Random numbers come from torch's global generator on the CPU. All is computed in float32.
"""

import torch
from torch import Tensor

from strategies.numerics.precision import full_precision


def complement(weight: Tensor, count: int, power: int) -> tuple[Tensor, Tensor]:
    """Returns bases u (d_out, r) and vh (r, d_in) of the complements of randomised ranges.

    Args:
        weight: W (d_out, d_in).
        count: r, at most n.
        power: q, at least 0.
    """
    with full_precision():
        return _complement(weight, count, power), _complement(weight.T, count, power).T.contiguous()


def _complement(weight: Tensor, count: int, power: int) -> Tensor:
    """(d_out, r), orthogonal to a randomised range of the columns of W (d_out, d_in)."""
    largest = min(weight.shape) - count
    if largest == 0:
        return _orthonormal(weight)
    found = _orthonormal(weight @ _gaussian(weight.shape[1], largest, weight))  # (d_out, n - r)
    for _ in range(power):
        found = _orthonormal(weight @ _orthonormal(weight.T @ found))
    return torch.linalg.qr(found, mode="complete").Q[:, largest : largest + count].contiguous()


def inverse(weight: Tensor, count: int, power: int) -> tuple[Tensor, Tensor]:
    """Returns bases u (d, r) and vh (r, d) found by inverse iteration.

    Args:
        weight: W (d, d), of full rank.
        count: r, at most d.
        power: q, at least 0.
    """
    with full_precision():
        lu, pivots = torch.linalg.lu_factor(weight)
        right = _gaussian(len(weight), count, weight)
        for _ in range(power + 1):
            left = torch.linalg.lu_solve(lu, pivots, right, adjoint=True)  # W^-T V
            right = _orthonormal(torch.linalg.lu_solve(lu, pivots, left))
        left = _orthonormal(torch.linalg.lu_solve(lu, pivots, right, adjoint=True))
        return left, right.T.contiguous()


def squared_sine(some: Tensor, others: Tensor) -> float:
    """Returns the mean squared sine of the principal angles between two spaces, 0 for equal ones to 1 for orthogonal ones.

    Args:
        some, others: orthonormal columns (d, r) each.
    """
    return 1 - (some.double().T @ others.double()).square().sum().item() / some.shape[1]


def _gaussian(rows: int, columns: int, like: Tensor) -> Tensor:
    return torch.randn(rows, columns).to(like)


def _orthonormal(columns: Tensor) -> Tensor:
    return torch.linalg.qr(columns).Q
