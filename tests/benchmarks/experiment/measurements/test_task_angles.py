"""task_angles.csv: between spaces with known angles, and of runs against their own weights in float64."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.experiment.measurements.task_angles import bases, cosines
from tests.benchmarks.experiment.measurements.runs import learn, weights
from tests.conftest import interrupt_at


def test_planes_at_known_angles() -> None:
    eye = torch.eye(5)
    turned = torch.stack([eye[0] * math.cos(0.3) + eye[2] * math.sin(0.3), eye[3]], dim=1)
    assert cosines(eye[:, :2], turned) == pytest.approx((math.cos(0.3), math.cos(0.3) ** 2 / 2), abs=1e-6)
    assert cosines(eye[:, :2], eye[:, 3:]) == (0, 0)
    assert cosines(eye[:, :2], eye[:, 1:2]) == (1, 1)  # one contains the other


def test_the_rank_is_that_above_rounding_and_at_most_16() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(40, 30, generator=generator)
    update = 0.1 * torch.randn(40, 3, generator=generator) @ torch.randn(3, 30, generator=generator)
    found = bases((weight + update) - weight, weight)  # with the rounding of float32
    assert found.left.shape == (40, 3) and found.right.shape == (30, 3)
    assert cosines(found.left, torch.linalg.qr(update).Q[:, :3])[1] == pytest.approx(1, abs=1e-6)
    assert bases(torch.randn(40, 30, generator=generator), weight).left.shape == (40, 16)
    assert bases(torch.zeros(40, 30), weight).left.shape == (40, 0)


@pytest.mark.parametrize("interrupted", [False, True])
def test_of_a_run_they_are_those_of_its_weights(
    interrupted: bool, images: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run interrupted after its first task has the pair of the second and third alone."""
    if interrupted:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupt_at(patch, "checkpoint.safetensors", 2)
            learn(images, tiny_clip, tmp_path, "lora", "task_angles", rank=2)
    run = learn(images, tiny_clip, tmp_path, "lora", "task_angles", rank=2)
    table, states = run.table("task_angles"), weights(run, tiny_clip)
    pairs = [(2, 3)] if interrupted else [(1, 2), (1, 3), (2, 3)]
    assert sorted(set(zip(table["earlier"], table["after"], strict=True))) == pairs and len(table) == 12 * len(pairs)
    assert (table[["rank", "earlier_rank"]] == 2).to_numpy().all()
    for row in table.itertuples():
        at = row.tower, row.block, row.matrix
        (u, _, v), (u0, _, v0) = (np.linalg.svd(states[t][at] - states[t - 1][at]) for t in (row.after, row.earlier))
        left, right = np.linalg.svd(u[:, :2].T @ u0[:, :2])[1], np.linalg.svd(v[:2] @ v0[:2].T)[1]
        wanted = [left[0], (left**2).mean(), right[0], (right**2).mean()]
        found = [row.left_largest, row.left_mean_squared, row.right_largest, row.right_mean_squared]
        assert found == pytest.approx(wanted, abs=1e-3)
