"""drift.csv: distances that are known, and of runs, also interrupted ones, against their own weights in float64."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from benchmarks.experiment.measurements.drift import distance, parameters
from tests.benchmarks.experiment.measurements.runs import learn
from tests.conftest import interrupt_at
from tests.models import tiny_model


def test_the_distance_is_that_of_one_vector() -> None:
    zeros = [torch.zeros(2), torch.zeros(1, 2)]
    assert distance([torch.tensor([1.0, 2.0]), torch.tensor([[2.0, 4.0]])], zeros) == 5


def test_every_parameter_is_in_one_tower_except_the_logit_scale() -> None:
    clip = tiny_model()
    found = parameters(clip)
    counted = [each for of in found.values() for each in of]
    assert {id(each) for each in counted} == {id(each) for each in clip.parameters()} - {id(clip.logit_scale)}
    assert len(found["image"]) == len(list(clip.visual.parameters()))


@pytest.mark.parametrize("interrupted", [False, True])
def test_of_a_run_they_are_those_of_its_weights(
    interrupted: bool, images: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if interrupted:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupt_at(patch, "checkpoint.safetensors", 2)
            learn(images, tiny_clip, tmp_path, "finetune", "drift")
    run = learn(images, tiny_clip, tmp_path, "finetune", "drift")
    states = [load_file(tiny_clip / "open_clip_model.safetensors")]
    for task in (1, 2, 3):
        changed = load_file(run.folder / "states" / f"{task}.safetensors").items()
        states.append(states[-1] | {name.removeprefix("model."): tensor for name, tensor in changed})
    vectors = {
        tower: [
            np.concatenate(
                [
                    tensor.ravel().astype(float)
                    for name, tensor in sorted(state.items())
                    if name.startswith("visual.") == (tower == "image") and tensor.ndim and name != "attn_mask"
                ]
            )
            for state in states
        ]
        for tower in ("image", "text")
    }
    table = run.table("drift")
    assert [tuple(row) for row in table[["after", "tower"]].to_numpy()] == [
        (after, tower) for after in (1, 2, 3) for tower in ("image", "text")
    ]
    for row in table.itertuples():
        of = vectors[row.tower]
        norms = [np.linalg.norm(of[row.after] - of[before]) for before in (0, row.after - 1)]
        wanted = [norms[0], norms[0] / np.linalg.norm(of[0]), norms[1], norms[1] / np.linalg.norm(of[0])]
        assert [row.distance, row.relative_distance, row.change, row.relative_change] == pytest.approx(wanted, rel=1e-9)
        assert row.change > 0
