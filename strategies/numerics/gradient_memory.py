"""Gradient projection memory: the directions spanned by a layer's inputs in earlier tasks, and those still free.

Sources: Saha et al., GPM, arXiv 2103.09762; Liang and Li, InfLoRA and its DualGPM, arXiv 2404.00228; the rule is that of
InfLoRA's released code as run in the NuSA-CL paper's comparison (arXiv 2510.21175), as described in public notes.

A task's inputs have the uncentred covariance C (d, d), with singular values s. What the memory shall hold is a share of
E = |C|_F^2, the sum of the squares of s (GPM itself takes the inputs in the place of C). The memory has orthonormal
columns M (d, m). After the first task these are the leading singular vectors of C, as many as hold less than the share
`threshold`, and at least one:

    m = max(1, number of k with  s_1^2 + ... + s_k^2 < threshold * E)

After a later task the leading left singular vectors of R = C - M M^T C are added, with singular values r, of which k is
the least number for which

    1 - |R|_F^2 / E + (r_1^2 + ... + r_k^2) / E >= threshold

Where M would have more than d / 2 columns, an orthonormal basis of its complement is stored in its place, and shrinks
from then on by the same rule: the smaller of the two is stored (DualGPM's dual).
"""

from typing import NamedTuple

import torch
from torch import Tensor


class GradientMemory(NamedTuple):
    """The gradient projection memory of one layer with inputs of d dimensions: the input directions to leave alone.

    These are the directions in which earlier tasks' inputs are largest. Their orthogonal complement is called free.

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

    def free(self, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the left singular vectors of R = C - M M^T C, (d, f), and its singular values (f,), both float64.

        M has the m remembered directions as columns; f = d - m. The vectors are orthonormal and orthogonal to M, in
        falling order of the values. InfLoRA takes the first as the input directions of a new task's update.

        Args:
            covariance: C (d, d), the uncentred covariance of a task's inputs, up to a positive factor.
        """
        basis = self.complement(covariance.device)  # (d, f)
        u, s, _ = torch.linalg.svd(basis.T @ covariance.double(), full_matrices=False)
        return basis @ u, s

    def extended(self, covariance: Tensor, threshold: float) -> "GradientMemory":
        """Returns the memory after a task, by the rule above: itself if it holds enough already, else a larger one.

        Args:
            covariance: C (d, d), the uncentred covariance of the task's inputs, up to a positive factor.
            threshold: the share of the sum of the squares of C's singular values that the memory shall hold, in 0..1.
        """
        directions, values = self.free(covariance)
        energy = values.square()  # (f,)
        wanted = threshold * covariance.double().square().sum()
        held = covariance.double().square().sum() - energy.sum()
        short = int((held + energy.cumsum(0) < wanted).sum())  # the most directions that leave it short
        first = not self.dual and self.basis.shape[1] == 0
        if first:
            count = max(short, 1)
        elif held >= wanted:
            return self
        else:
            count = min(short + 1, len(energy))
        if 2 * (len(energy) - count) < len(covariance):
            return GradientMemory(directions[:, count:].float(), dual=True)
        taken = directions[:, :count].float().to(self.basis.device)
        return GradientMemory(torch.cat([self.basis, taken], dim=1), dual=False)


def empty(size: int) -> GradientMemory:
    """Returns a memory that remembers nothing yet, for a layer whose inputs have `size` dimensions."""
    return GradientMemory(torch.empty(size, 0), dual=False)
