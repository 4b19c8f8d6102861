"""The summary of a model's spectra, beside numpy's singular values."""

import numpy as np
import pytest

from benchmarks.experiment.model_spectra import POINTS, spectra
from strategies.clip.weight_matrices import weight_matrices
from tests.models import tiny_classifier


def test_the_means_over_a_towers_matrices() -> None:
    clip = tiny_classifier().clip
    for found in spectra(clip, rho=0.8):
        values = [
            np.linalg.svd(matrix.weight().detach().double().numpy(), compute_uv=False)
            for matrix in weight_matrices(clip, found.tower)
        ]
        shares = [(1 + np.sum(np.cumsum(s**2) < 0.8 * np.sum(s**2))) / len(s) for s in values]
        assert found.energy_share == pytest.approx(np.mean(shares))
        assert found.stable_rank == pytest.approx(np.mean([np.sum(s**2) / s[0] ** 2 for s in values]), rel=1e-4)
        entropy = [np.exp(-np.sum(s / s.sum() * np.log(s / s.sum()))) / len(s) for s in values]
        assert found.entropy_share == pytest.approx(np.mean(entropy), rel=1e-4)
        ends = np.mean([(1.0, s[-1] / s[0]) for s in values], axis=0)
        assert len(found.values) == POINTS and found.values[0] == 1
        assert found.values[-1] == pytest.approx(ends[1], abs=1e-4)
