"""Ridge regression in closed form: recursively, batch after batch, or by a kernel over all samples."""

import math

import torch
from torch import Tensor, nn

from strategies.numerics.precision import full_precision


INEXACT = 0.01  # of answers whose targets are 0 and 1


def least_ridge(inputs: Tensor) -> float:
    """Returns the ridge from which on `learn_batch` answers to within `INEXACT`.

    Against the ridge regression in float64, answers were off by about the rounding of ||x||^2 / ridge.

    Args:
        inputs: (N, h), of the type in which the regression computes.
    """
    return float(inputs.double().square().sum(dim=1).max()) * torch.finfo(inputs.dtype).eps / INEXACT


def least_kernel_ridge(count: int) -> float:
    """Returns the ridge from which on `kernel_coefficients` are exact to within `INEXACT`: eigenvalues of K are N at most.

    Args:
        count: N, the number of samples.
    """
    return count * torch.finfo(torch.float64).eps / INEXACT


@torch.no_grad()
def learn_batch(inverse: Tensor, weights: Tensor, inputs: Tensor, targets: Tensor) -> None:
    """Adds a batch of B samples to a ridge regression, in place (recursive least squares).

    With the inputs X (N, h) and targets Y (N, C) of all samples so far, `inverse` is R = (X^T X + ridge I)^-1 and `weights`
    is W = R X^T Y, exactly but for rounding. Before any sample R = I / ridge and W = 0. By Woodbury's identity, with
    S = I + X_b R X_b^T (B, B),

        W <- W + R X_b^T S^-1 (Y_b - X_b W)        R <- R - R X_b^T S^-1 X_b R

    The small system is solved in float64; R and W are float32, like the released code's. Their rounding adds up: on random
    features of 60 000 samples, class after class, answers were off by 1e-4. A ridge must not be below `least_ridge`.

    Args:
        inverse: R (h, h), float32.
        weights: W (h, C), float32.
        inputs: X_b (B, h), float32.
        targets: Y_b (B, C), float32.
    """
    with full_precision():
        gain = inverse @ inputs.T  # (h, B)
        system = (inputs @ gain).double()  # (B, B)
        system.diagonal().add_(1)
        lower = torch.linalg.cholesky(system)
        errors = (targets - inputs @ weights).double()  # (B, C)
        weights.addmm_(gain, torch.cholesky_solve(errors, lower).to(gain.dtype))
        half = torch.linalg.solve_triangular(lower, gain.T.double(), upper=False).to(gain.dtype)  # (B, h)
        inverse.addmm_(half.T, half, alpha=-1)


@torch.no_grad()
def kernel(inputs: Tensor, others: Tensor, gamma: float) -> Tensor:
    """Returns the Gaussian kernel exp(-gamma ||x - y||^2) of each pair, (B, N) float64.

    Args:
        inputs: x (B, D).
        others: y (N, D).
        gamma: the factor on squared distances.
    """
    x, y = inputs.double(), others.double()
    squares = x.square().sum(dim=1, keepdim=True) + y.square().sum(dim=1) - 2 * x @ y.T  # (B, N)
    return squares.clamp_(min=0).mul_(-gamma).exp_()


@torch.no_grad()
def kernel_coefficients(inputs: Tensor, targets: Tensor, gamma: float, ridge: float) -> Tensor:
    """Returns the coefficients (K + ridge I)^-1 Y of kernel ridge regression, (N, C) float64.

    The answer for x is kernel(x, inputs) @ coefficients. In float64, since K is close to singular where inputs are alike.

    Args:
        inputs: (N, D).
        targets: Y (N, C).
        gamma: the factor on squared distances in the kernel K.
        ridge: the regularisation, not below `least_kernel_ridge`.
    """
    system = kernel(inputs, inputs, gamma)  # (N, N)
    system.diagonal().add_(ridge)
    return torch.cholesky_solve(targets.double(), torch.linalg.cholesky(system))


def projection(hidden: int, size: int, seed: int) -> Tensor:
    """Returns a random matrix (hidden, size), uniform in +-1/sqrt(size), as torch initialises a linear layer.

    It is drawn on the CPU, so that it is the same on every device.

    Args:
        hidden: the number of random features.
        size: the number of values of an input.
        seed: of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    return nn.init.kaiming_uniform_(torch.empty(hidden, size), a=math.sqrt(5), generator=generator)
