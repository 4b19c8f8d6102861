"""gradient_shares.csv: on a gradient with known parts, and of a run against torch's gradient of its own weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from benchmarks import api as nb
from benchmarks.experiment.backbones.loading import load_backbone
from benchmarks.experiment.measurements.changes import Principal
from benchmarks.experiment.measurements.gradient_shares import tail_shares
from benchmarks.experiment.setup import make_classifier
from benchmarks.images.decode import decode
from benchmarks.streams.orders import whole
from strategies.clip.weight_matrices import weight_matrices
from tests.benchmarks.experiment.measurements.runs import learn


def test_a_gradient_with_known_parts() -> None:
    eye = torch.eye(4)
    gradient = torch.diag(torch.tensor([1.0, 0, 4, 0]))
    gradient[0, 3], gradient[3, 0] = 2, 2  # principal on the left alone, on the right alone
    before = Principal(eye, eye[:, :2], eye[:2])
    found = tail_shares(gradient, before)
    assert list(found) == ["tail_tail", "left_tail", "right_tail"]
    assert list(found.values()) == pytest.approx([0.8, 0.2 * 20**0.5, 0.2 * 20**0.5])
    assert set(tail_shares(torch.zeros(4, 4), before).values()) == {None}


def test_of_a_run_they_are_those_of_a_plain_backward_pass(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    run = learn(images, tiny_clip, tmp_path / "with", "lora", "gradient_shares", rank=4)
    table = run.table("gradient_shares")
    assert len(table) == 36 and table.drop(columns=["tower", "matrix"]).notna().to_numpy().all()
    plain = learn(images, tiny_clip, tmp_path / "without", "lora", rank=4)
    assert (plain.folder / "model.safetensors").read_bytes() == (run.folder / "model.safetensors").read_bytes()

    stream = whole(nb.stream(f"folder:{images}"))
    backbone = load_backbone(f"local-dir:{tiny_clip}", None)
    model = make_classifier(backbone, stream).eval()
    task: Any = stream.tasks[0]
    loss = F.cross_entropy(model(decode(task.train, backbone.size), 0), torch.from_numpy(task.train.labels))
    loss.backward()
    for row in table[table["after"] == 1].itertuples():
        matrix = next(
            m for m in weight_matrices(model.clip) if (m.tower, m.block, m.matrix) == (row.tower, row.block, row.matrix)
        )
        gradient = matrix.parameter().grad
        assert gradient is not None
        u, s, vh = torch.linalg.svd(matrix.weight().detach().double())
        k = int((s.square().cumsum(0) < 0.95 * s.square().sum()).sum()) + 1
        parts = u.T @ matrix.rows(gradient).double() @ vh.T
        wanted = [float(part.norm() / parts.norm()) for part in (parts[k:, k:], parts[k:], parts[:, k:])]
        found = [row.start_tail_tail, row.start_left_tail, row.start_right_tail]
        assert found == pytest.approx(wanted, abs=1e-3)
