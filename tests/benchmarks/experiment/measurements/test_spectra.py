"""spectra.csv: ranks of spectra that are known, and of a run against its own weights in float64."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.experiment.measurements.spectra import stable_rank
from tests.benchmarks.experiment.measurements.runs import learn, weights


def test_the_stable_rank_of_known_spectra() -> None:
    assert stable_rank(torch.tensor([2.0, 2.0, 2.0])) == 3
    assert stable_rank(torch.tensor([2.0, 1.0, 1.0])) == 1.5
    assert stable_rank(torch.zeros(3)) == 0


def test_of_a_run_they_are_those_of_its_weights(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    run = learn(images, tiny_clip, tmp_path, "finetune", "spectra")
    table, states = run.table("spectra"), weights(run, tiny_clip)
    assert len(table) == 4 * 12
    for row in table.itertuples():
        s = np.linalg.svd(states[row.after][row.tower, row.block, row.matrix], compute_uv=False)
        p, q = s / s.sum(), s**2 / (s**2).sum()
        wanted = [1 / q.max(), np.exp(-(p * np.log(p)).sum()), np.exp(-(q * np.log(q)).sum())]
        assert [row.stable_rank, row.entropy_rank_values, row.entropy_rank_energies] == pytest.approx(wanted, rel=1e-4)
    assert table["entropy_rank_values"].to_numpy() == pytest.approx(run.table("rank")["effective_rank"].to_numpy())
