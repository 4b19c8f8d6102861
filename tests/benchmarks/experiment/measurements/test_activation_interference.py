"""activation_interference.csv: on covariances that are known, and of runs against plain open_clip's inputs in float64."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import api as nb
from benchmarks.experiment.backbones.loading import load_backbone
from benchmarks.experiment.measurements.activation_interference import relative, spread
from benchmarks.experiment.probes import folder
from benchmarks.images.decode import decode
from tests.benchmarks.experiment.measurements.runs import learn, weights
from tests.conftest import interrupt_at


def test_known_covariances() -> None:
    weight = torch.diag(torch.tensor([4.0, 1]))
    inputs, outputs = torch.diag(torch.tensor([1.0, 9])), torch.diag(torch.tensor([0.25, 4]))
    change = torch.tensor([[0.0, 1], [0, 0]])  # from the second input to the first output
    assert relative(change, weight, inputs, None) == pytest.approx((9 / (16 + 9)) ** 0.5)
    assert relative(change, weight, None, outputs) == pytest.approx((0.25 / (4 + 4)) ** 0.5)
    assert relative(change, weight, inputs, outputs) == pytest.approx((0.25 * 9 / (4 + 36)) ** 0.5)
    assert relative(weight, weight, inputs, outputs) == 1 and relative(0 * weight, weight, inputs, None) == 0
    assert relative(change, 0 * weight, inputs, None) is None
    root = torch.linalg.cholesky(torch.tensor([[2.0, 1], [1, 3]]))
    found = relative(change, weight, root @ root.T, None)
    assert found == pytest.approx(((change @ root).norm() / (weight @ root).norm()).item())


def test_what_is_looked_at_is_spread_evenly() -> None:
    assert spread(3) == [0, 1, 2] and spread(1) == [0]
    found = spread(1000)
    assert len(set(found)) == 256 and (found[0], found[-1]) == (0, 999)


def inputs_of(images: Path, tiny_clip: Path) -> dict[tuple[str, int], np.ndarray]:
    """The inputs (N, d) of q, k and v of plain open_clip on the probe, of texts those up to the end of each."""
    backbone = load_backbone(f"local-dir:{tiny_clip}", None)
    clip: Any = backbone.clip.eval()
    found: dict[tuple[str, int], list[np.ndarray]] = {}
    kept: list[torch.Tensor] = []

    def of(tower: str, index: int) -> Any:
        def see(_: Any, x: torch.Tensor, y: torch.Tensor) -> None:
            found.setdefault((tower, index), []).append(
                (y[kept[-1]] if tower == "text" else y.flatten(0, 1)).double().numpy()
            )

        return see

    for tower, root in (("image", clip.visual), ("text", clip)):
        for index, block in enumerate(root.transformer.resblocks):
            block.ln_1.register_forward_hook(of(tower, index))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (backbone.mean, backbone.std))
    with torch.no_grad():
        for probe in folder.build(str(images)):
            clip.encode_image((decode(probe.images, backbone.size) / 255 - mean) / std)
            tokens = backbone.tokenize([probe.templates[0].format(text) for text in probe.texts])
            kept.append(torch.arange(tokens.shape[1]) <= tokens.argmax(dim=1, keepdim=True))
            clip.encode_text(tokens)
    return {place: np.concatenate(each) for place, each in found.items()}


@pytest.mark.parametrize("interrupted", [False, True])
def test_of_a_run_they_are_those_of_plain_open_clips_inputs(
    interrupted: bool, images: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe: dict[str, Any] = {"probe": [f"folder:{images}"], "rank": 4}
    if interrupted:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupt_at(patch, "checkpoint.safetensors", 2)
            learn(images, tiny_clip, tmp_path, "lora", "activation_interference", **probe)
    run = learn(images, tiny_clip, tmp_path, "lora", "activation_interference", **probe)
    table, states, inputs = run.table("activation_interference"), weights(run, tiny_clip), inputs_of(images, tiny_clip)
    assert len(table) == 36
    for row in table[table["matrix"] != "o"].itertuples():
        at = row.tower, row.block, row.matrix
        x, before = inputs[row.tower, row.block], states[row.after - 1][at]
        delta, y = states[row.after][at] - before, x @ states[0][at].T
        wanted = [np.linalg.norm(x @ delta.T) / np.linalg.norm(x @ before.T)]
        wanted += [np.linalg.norm(y @ delta) / np.linalg.norm(y @ before)]
        wanted += [np.linalg.norm(y @ delta @ x.T) / np.linalg.norm(y @ before @ x.T)]
        assert [row.right, row.left, row.both] == pytest.approx(wanted, rel=1e-3)
    assert (table.loc[table["matrix"] == "o", ["right", "left", "both"]] > 0).to_numpy().all()


def test_it_needs_a_probe_before_anything_is_written(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    with pytest.raises(nb.UserError, match=r"^--measure activation_interference: needs --probe"):
        learn(images, tiny_clip, tmp_path / "results", "lora", "activation_interference")
    assert not list((tmp_path / "results").rglob("config.yaml"))
