"""The singular values of a model's weight matrices, a summary for each tower; no training."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.experiment.measurements.spectra import stable_rank
from strategies.clip.weight_matrices import weight_matrices
from strategies.numerics.precision import full_precision
from strategies.numerics.subspace import energy_rank, entropy_rank


POINTS = 33  # of a spectrum


class Spectrum(NamedTuple):
    """The singular values of a tower's q, k, v and o matrices of width n: means over the matrices.

    Attributes:
        tower: `image` or `text`.
        energy_share: the share of the directions that hold the share rho of the squared singular values, in 0..1.
        entropy_share: the entropy rank (Roy and Vetterli) over n, in 0..1.
        stable_rank: ||W||_F^2 / ||W||_2^2, in directions.
        values: the singular values over the largest, at 33 places evenly spaced from the largest to the smallest.
    """

    tower: str
    energy_share: float
    entropy_share: float
    stable_rank: float
    values: list[float]


def spectra(clip: Any, rho: float = 0.95) -> Iterator[Spectrum]:
    """Yields the spectrum of each tower of a model.

    Args:
        clip: the open_clip model.
        rho: the share of the squared singular values.
    """
    for tower in ("image", "text"):
        with full_precision():
            found = [
                torch.linalg.svdvals(matrix.weight().detach().float()).cpu() for matrix in weight_matrices(clip, tower)
            ]
        shares = [(energy_rank(s, rho) / len(s), entropy_rank(s) / len(s), stable_rank(s)) for s in found]
        curve = np.mean([_at_places(s) for s in found], axis=0)  # (33,)
        energy, entropy, stable = np.mean(shares, axis=0).tolist()
        yield Spectrum(tower, energy, entropy, stable, [round(float(each), 5) for each in curve])


def _at_places(s: Tensor) -> np.ndarray:
    places = np.linspace(0, 1, len(s))
    return np.interp(np.linspace(0, 1, POINTS), places, (s / s[0]).numpy())
