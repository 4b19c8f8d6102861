"""basis_stability.csv: of tails turned by known angles, and of runs, which train as without it, against their own weights."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.experiment.measurements.basis_stability import compared, turned
from strategies.numerics.subspace import decompose
from tests.benchmarks.experiment.measurements.runs import learn, weights


def test_a_plane_turned_by_known_angles() -> None:
    eye = torch.eye(5)
    now = torch.stack([eye[0] * math.cos(0.2) + eye[2] * math.sin(0.2), eye[1]], dim=1)
    assert turned(eye[:, :2], now) == pytest.approx((math.degrees(0.2), math.sin(0.2) ** 2 / 2), rel=1e-5)
    assert turned(eye[:, :2], eye[:, 2:4]) == (90, 1) and turned(now, now) == pytest.approx((0, 0), abs=1e-5)


def test_a_weight_whose_tail_turns_on_the_left_alone() -> None:
    """W = diag(4, 3, 1) with its second and third output direction turned by 0.1, and the third value doubled."""
    turn = torch.eye(3)
    turn[1:, 1:] = torch.tensor([[math.cos(0.1), -math.sin(0.1)], [math.sin(0.1), math.cos(0.1)]])
    before, now = (
        decompose(torch.diag(torch.tensor([4.0, 3, 1]))),
        decompose(turn @ torch.diag(torch.tensor([4.0, 3, 2]))),
    )
    found = compared(before, now, 2)
    assert found["left_angle"] == pytest.approx(math.degrees(0.1), abs=1e-3)
    assert found["left_squared_sine"] == pytest.approx(math.sin(0.1) ** 2, rel=1e-3)
    assert found["right_angle"] == pytest.approx(0, abs=1e-3)
    assert found["principal_values"] == pytest.approx(0, abs=1e-6) and found["tail_values"] == pytest.approx(1)
    none = compared(before, now, 3)
    assert none["left_angle"] is None and none["tail_values"] is None and none["principal_values"] == pytest.approx(1)


@pytest.mark.parametrize("strategy", ["nusa", "lora", "finetune"])
def test_its_last_row_is_of_the_merged_weights(strategy: str, images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    rank = {} if strategy == "finetune" else {"rank": 4}
    run = learn(images, tiny_clip, tmp_path / "with", strategy, "basis_stability", iterations=23, **rank)
    table, states = run.table("basis_stability"), weights(run, tiny_clip)
    assert sorted(set(table["step"])) == [*range(3, 23, 3), 23] and len(table) == 3 * 8 * 12
    for row in table[table["step"] == 23].itertuples():
        (u, s, vh), (u1, s1, vh1) = (
            np.linalg.svd(states[state][row.tower, row.block, row.matrix]) for state in (row.task - 1, row.task)
        )
        k = int(np.argmax(np.cumsum(s**2) >= 0.95 * (s**2).sum())) + 1
        left, right = np.linalg.svd(u[:, :k].T @ u1[:, k:])[1], np.linalg.svd(vh[:k] @ vh1[k:].T)[1]
        for side, sines in (("left", left), ("right", right)):
            assert getattr(row, f"{side}_angle") == pytest.approx(math.degrees(math.asin(min(sines[0], 1))), abs=0.1)
            squared = (sines**2).sum() / (len(s) - k)
            assert getattr(row, f"{side}_squared_sine") == pytest.approx(squared, abs=1e-4)
        assert row.principal_values == pytest.approx((abs(s1 - s) / s)[:k].max(), abs=1e-4)
    plain = learn(images, tiny_clip, tmp_path / "without", strategy, iterations=23, **rank)
    assert (plain.folder / "model.safetensors").read_bytes() == (run.folder / "model.safetensors").read_bytes()
