"""Gradient projection memory: the directions spanned by a layer's inputs in earlier tasks, and those still free.

Sources: Saha et al., GPM, arXiv 2103.09762; Liang and Li, the memory of InfLoRA (DualGPM), arXiv 2404.00228.

A task's inputs are H (N, d), with uncentred covariance C = H^T H (d, d). The memory has orthonormal columns M (d, m).
After a task it grows by the k directions of largest energy in the part of H that it does not hold yet, R = H - H M M^T.
The number k is the least for which

    |H M M^T|_F^2 + |R_k|_F^2 >= threshold * |H|_F^2        R_k: R projected on its first k right singular vectors

Energies are traces of C, so H itself is never stored. Where M would have more than d / 2 columns, an orthonormal basis
of its complement is stored in its place, and shrinks from then on by the same rule: the smaller of the two is stored
(DualGPM's dual).
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Free(NamedTuple):
    """The f free directions of a layer's inputs: those orthogonal to all directions that the layer's memory holds.

    They are in falling order of the energy that a task's inputs have along them.

    Attributes:
        energy: (f,) float64, the sum of the squared components of the inputs along each direction.
        directions: (d, f) float64, orthonormal columns.
    """

    energy: Tensor
    directions: Tensor


class GradientMemory(NamedTuple):
    """The gradient projection memory of one layer with inputs of d dimensions: the input directions to leave alone.

    These are the directions of most of the energy of earlier tasks' inputs. Their orthogonal complement is called free.

    Attributes:
        basis: (d, b) float32, orthonormal columns.
        dual: True if the columns span the free space, False if they span the remembered inputs.
    """

    basis: Tensor
    dual: bool

    def complement(self, device: torch.device) -> Tensor:
        """Returns an orthonormal basis of the directions that are not remembered: (d, f) float64, in its columns.

        d is the input width of the matrix, f = d - (number of remembered directions); f may be 0.

        Args:
            device: the device of the result.
        """
        basis = self.basis.to(device).double()
        return basis if self.dual else torch.linalg.qr(basis, mode="complete").Q[:, basis.shape[1] :]

    def free(self, covariance: Tensor) -> Free:
        """Returns the directions orthogonal to all remembered ones, ordered by a task's energy along them.

        The energy along a direction is the sum of the inputs' squared components.

        Args:
            covariance: (d, d), the uncentred covariance of the task's inputs, up to a positive factor.
        """
        basis = self.complement(covariance.device)
        energy, within = torch.linalg.eigh(basis.T @ covariance.double() @ basis)  # (f,) rising, (f, f)
        return Free(energy.flip(0).clamp(min=0), basis @ within.flip(1))

    def leading(self, covariance: Tensor, count: int) -> Tensor:
        """Returns the leading left singular vectors of C - M M^T C, as columns (d, min(count, f)) in float64.

        M has the remembered directions as columns, and f is the dimension of the free space, their orthogonal
        complement. InfLoRA (arXiv 2404.00228) takes these as the input directions of a new task's update.

        Args:
            covariance: C (d, d), the uncentred covariance of the new task's inputs, up to a positive factor.
            count: the number of directions wanted.
        """
        basis = self.complement(covariance.device)
        u, _, _ = torch.linalg.svd(basis.T @ covariance.double(), full_matrices=False)  # (f, f)
        return basis @ u[:, :count]

    def extended(self, covariance: Tensor, threshold: float) -> "GradientMemory":
        """Returns the memory after a task: itself if it holds enough of the task's energy already, else a larger one.

        The energy is the sum of the squared inputs, the trace of their covariance. The larger memory has as many more
        directions as are needed to hold the share `threshold` of it.

        Args:
            covariance: (d, d), the uncentred covariance of the task's inputs, up to a positive factor.
            threshold: the share of the inputs' energy that the memory shall hold, in 0..1.
        """
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
    """Returns a memory that remembers nothing yet, for a layer whose inputs have `size` dimensions."""
    return GradientMemory(torch.empty(size, 0), dual=False)
