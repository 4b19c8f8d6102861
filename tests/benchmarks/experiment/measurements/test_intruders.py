"""intruders.csv: on a weight whose intruder is known, and of a run against its own weights in float64."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.experiment.measurements.intruders import best_cosines, scaled
from strategies.numerics.subspace import decompose
from tests.benchmarks.experiment.measurements.runs import learn, weights


def test_a_new_direction_is_an_intruder_and_goes_when_it_is_scaled_away() -> None:
    """Its cosine with each of the old left vectors is 1/3 (in nine dimensions): none is like it, though all span it."""
    before = torch.diag(torch.tensor([9.0, 8, 7, 6, 5, 4, 3, 2, 0]))
    after = before + 100 * torch.outer(torch.full((9,), 1 / 3), torch.eye(9)[8])
    found = decompose(after)
    cosines = best_cosines(found.u, torch.eye(9))
    assert cosines[0] == pytest.approx(1 / 3, abs=0.01) and (cosines < 0.5).sum() == 1
    without = scaled(after, found, cosines < 0.5, 0.0)
    assert torch.linalg.svdvals(without).max() < 10
    assert scaled(after, found, torch.tensor([0]), 1.0).allclose(after)
    values = decompose(scaled(after, found, torch.tensor([0]))).s
    assert values[0] == pytest.approx(0.7 * found.s[0].item(), rel=1e-5)
    torch.testing.assert_close(values[1:], found.s[1:], rtol=1e-4, atol=1e-4)


def test_an_unchanged_weight_has_none() -> None:
    u = decompose(torch.randn(12, 6, generator=torch.Generator().manual_seed(0))).u
    assert best_cosines(u, u).tolist() == pytest.approx([1.0] * 6, abs=1e-5)


def test_of_a_run_they_are_those_of_its_weights(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    run = learn(images, tiny_clip, tmp_path, "lora", "intruders", lr=5e-2, rank=4)
    table, states = run.table("intruders"), weights(run, tiny_clip)
    assert sorted(set(table["after"])) == [1, 2, 3] and len(table) == 36
    assert table["intruders"].between(0, 10).all() and table["intruders"].sum() > 0
    for row in table.itertuples():
        u0, u = (np.linalg.svd(states[state][row.tower, row.block, row.matrix])[0] for state in (0, row.after))
        best = np.abs(u0.T @ u[:, :10]).max(axis=0)
        assert row.least_cosine == pytest.approx(best.min(), abs=1e-3)
        assert (best < 0.499).sum() <= row.intruders <= (best < 0.501).sum()
