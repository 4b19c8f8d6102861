"""Input directions that a matrix has to leave alone: those of its weight, and by KeepLoRA's rule those of tasks' inputs.

Luo et al., KeepLoRA, arXiv 2601.19659. S (d, m) has orthonormal columns. For inputs X (N, d) of a task, S gets the least
number of leading right singular vectors of R = X - X S S^T, with singular values r_1, r_2, ..., for which

    1 - |R|_F^2 / |X|_F^2 + (r_1^2 + r_2^2 + ...) / |X|_F^2 >= share
"""

import torch
from torch import Tensor

from strategies.numerics.gradient_memory import GradientMemory
from strategies.numerics.gram import directions


def principal(vectors: Tensor, s: Tensor, share: float) -> Tensor:
    """Returns the leading singular vectors (d, m) that stay below a share of the squared singular values; at least one.

    Args:
        vectors: (d, n), singular vectors in the columns.
        s: (n,), their singular values in falling order.
        share: of the sum of the squared singular values, in 0..1.
    """
    energy = s.double().square().cumsum(0)
    return vectors[:, : max(1, int((energy < share * energy[-1]).sum()))]


def extended(basis: Tensor, gram: Tensor, share: float) -> Tensor:
    """Returns the basis (d, m + k) after a task, by the rule above: itself if it holds enough already.

    The squared singular values of R and its right singular vectors are the eigenvalues and eigenvectors of P X^T X P,
    with the projector P = I - S S^T.

    Args:
        basis: S (d, m) float32, orthonormal columns.
        gram: X^T X (d, d) float64, up to a positive factor.
        share: of |X|_F^2, in 0..1.
    """
    free = GradientMemory(basis, dual=False).complement(gram.device)  # (d, d - m)
    values, vectors = directions(free.T @ gram @ free)
    energy, total = values.flip(0), gram.trace()
    held = total - energy.sum() + torch.cat([energy.new_zeros(1), energy.cumsum(0)])  # with 0, 1, ... vectors more
    count = min(int((held < share * total).sum()), len(energy))
    new = free @ vectors.flip(1)[:, :count]  # (d, k)
    return torch.cat([basis, new.to(basis)], dim=1)
