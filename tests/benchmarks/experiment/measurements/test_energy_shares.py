"""energy_shares.csv: on matrices with known parts, and of a run against its own weights in float64."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.experiment.measurements.energy_shares import PARTS, shares
from tests.benchmarks.experiment.measurements.runs import MATRICES, learn, weights


def test_four_parts_of_known_size() -> None:
    u, v = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))[0], torch.eye(4)
    change = 1 * torch.outer(u[:, 0], v[0]) + 2 * torch.outer(u[:, 1], v[3])
    change += 2 * torch.outer(u[:, 4], v[1]) + 4 * torch.outer(
        u[:, 5], v[2]
    )  # the sixth is no singular vector of a 6 x 4
    found = shares(change, u[:, :2], v[:2])
    assert [found[name] for name in PARTS] == pytest.approx([0.2, 0.4, 0.4, 0.8], abs=1e-6)
    assert shares(torch.zeros(6, 4), u[:, :2], v[:2]) == dict.fromkeys(PARTS)


@pytest.mark.parametrize("strategy", ["lora", "nusa"])
def test_of_a_run_they_are_those_of_its_weights(strategy: str, images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    run = learn(images, tiny_clip, tmp_path, strategy, "energy_shares", rank=4)
    table, states = run.table("energy_shares"), weights(run, tiny_clip)
    assert [tuple(row) for row in table[["after", "tower", "block", "matrix"]].to_numpy()] == [
        (after, *place) for after in (1, 2, 3) for place in MATRICES
    ]
    assert (table[list(PARTS)] ** 2).sum(axis=1).to_numpy() == pytest.approx(np.ones(36), abs=1e-4)
    for row in table.itertuples():
        place = row.tower, row.block, row.matrix
        before, after = states[row.after - 1][place], states[row.after][place]
        u, s, vh = np.linalg.svd(before)
        k = int(np.argmax(np.cumsum(s**2) >= 0.95 * (s**2).sum())) + 1
        parts = u.T @ (after - before) @ vh.T
        both, tail = (np.linalg.norm(part) / np.linalg.norm(parts) for part in (parts[:k, :k], parts[k:, k:]))
        assert [row.principal_principal, row.tail_tail] == pytest.approx([both, tail], abs=1e-4)
        assert row.tail_tail > 0.999 if strategy == "nusa" else row.tail_tail < 0.9
