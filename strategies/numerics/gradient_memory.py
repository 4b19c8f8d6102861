"""Gradient projection memory: the directions in which earlier tasks' inputs of a layer lie, and what is still free.

Saha et al., GPM, arXiv 2103.09762; Liang and Li, the memory of InfLoRA, arXiv 2404.00228 (DualGPM). With the inputs of a task
H (N, d), their uncentred covariance C = H^T H (d, d), and a memory with orthonormal columns M (d, m), the memory grows by
the k directions of the largest energy in what it does not hold yet, R = H - H M M^T, for the least k with

    |H M M^T|_F^2 + |R_k|_F^2 >= threshold * |H|_F^2        R_k: R's projection on its k first right singular vectors

Energies are traces of C, so H itself is never kept. Where M would have more than d / 2 columns, an orthonormal basis of its
complement is stored in its place and shrinks from then on by the same rule: the less of the two (the dual of DualGPM).
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Free(NamedTuple):
    """What a memory leaves free, in order of falling energy of a task's inputs.

    Attributes:
        energy: (f,) float64.
        directions: (d, f) float64, orthonormal columns: the right singular vectors of R.
    """

    energy: Tensor
    directions: Tensor


class GradientMemory(NamedTuple):
    """The memory of one layer.

    Attributes:
        basis: (d, b) float32, orthonormal columns.
        dual: whether they span what is free; otherwise they span what is remembered.
    """

    basis: Tensor
    dual: bool

    def complement(self, device: torch.device) -> Tensor:
        """An orthonormal basis (d, f) of what is free, float64."""
        basis = self.basis.to(device).double()
        return basis if self.dual else torch.linalg.qr(basis, mode="complete").Q[:, basis.shape[1] :]

    def free(self, covariance: Tensor) -> Free:
        """The free space seen through a task's covariance (d, d), which may be scaled by any factor."""
        basis = self.complement(covariance.device)
        energy, within = torch.linalg.eigh(basis.T @ covariance.double() @ basis)  # (f,) rising, (f, f)
        return Free(energy.flip(0).clamp(min=0), basis @ within.flip(1))

    def leading(self, covariance: Tensor, count: int) -> Tensor:
        """The first left singular vectors (d, min(count, f)) of C - M M^T C, float64: InfLoRA's directions for a new task."""
        basis = self.complement(covariance.device)
        u, _, _ = torch.linalg.svd(basis.T @ covariance.double(), full_matrices=False)  # (f, f)
        return basis @ u[:, :count]

    def extended(self, covariance: Tensor, threshold: float) -> "GradientMemory":
        """The memory after a task with this covariance (d, d); the same one if it holds the task's inputs already."""
        energy, directions = self.free(covariance)
        missing = energy.sum() - (1 - threshold) * covariance.double().trace()
        if missing <= 0:
            return self
        count = int((energy.cumsum(0) < missing).sum()) + 1
        if 2 * (len(energy) - count) < len(covariance):
            return GradientMemory(directions[:, count:].float(), dual=True)
        taken = directions[:, :count].float().to(self.basis.device)
        return GradientMemory(torch.cat([self.basis, taken], dim=1), dual=False)


def empty(size: int) -> GradientMemory:
    """Nothing remembered of inputs of `size` dimensions."""
    return GradientMemory(torch.empty(size, 0), dual=False)
