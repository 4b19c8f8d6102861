"""What merging methods share: what learns, theta_0, and that no more than is stored decides how a run goes on."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import api as nb
from strategies import ema, magmax, opcm, task_arithmetic
from strategies.base import ALL
from tests.merging import close, trained
from tests.models import snapshot, tiny_classifier, tiny_experiences, tiny_template


METHODS = [magmax, task_arithmetic, opcm, ema]
CPU = torch.device("cpu")


@pytest.mark.parametrize("towers", ["image", "both"])
@pytest.mark.parametrize("method", METHODS)
def test_all_of_the_chosen_towers_learns_but_the_logit_scale(method: Any, towers: str, device: torch.device) -> None:
    classifier = tiny_classifier(device=device)
    before = snapshot(classifier.clip)
    template = tiny_template(classifier, [method.Plugin(method.Settings(towers=towers))])
    template.train(tiny_experiences()[0])
    after = snapshot(classifier.clip)
    changed = {name for name, _ in classifier.clip.named_parameters() if not torch.equal(after[name], before[name])}
    image = {name for name, _ in classifier.clip.named_parameters() if name.startswith("visual.")}
    assert changed & image and "logit_scale" not in changed
    assert (changed <= image) == (towers == "image")
    expected = [each for name, each in classifier.clip.named_parameters() if towers == "both" or name in image]
    scale = 1 if towers == "both" else 0
    assert template.trained_count == sum(each.numel() for each in expected) - scale


@pytest.mark.parametrize("method", METHODS)
def test_the_models_weights_before_the_first_task_are_theta_0_in_every_run(method: Any) -> None:
    plugin = method.Plugin(method.Settings())
    first = trained(plugin, CPU, (0,))
    plugin.begin(first.model)
    assert plugin.state_dict() == {}
    again = trained(method.Plugin(method.Settings()), CPU, (0,))
    assert close(first.deployed[0], again.deployed[0], atol=0)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_and_moments_of_what_learns_are_said_to_take_memory(method: Any) -> None:
    classifier = tiny_classifier()
    parameters = dict(classifier.clip.named_parameters())
    whole = sum(each.nbytes for each in parameters.values()) - classifier.clip.logit_scale.nbytes
    image = sum(each.nbytes for name, each in parameters.items() if name.startswith("visual."))
    for towers, size in (("both", whole), ("image", image)):
        assert method.Plugin(method.Settings(towers=towers)).least_bytes(classifier) == {ALL: 3 * size}


class BreaksOff(nb.Callback):
    """Interrupts a run once, as Ctrl-C does, at the second step of its second task."""

    def __init__(self) -> None:
        self.began: list[int] = []  # how many tasks were learned whenever the run began

    def on_run_begin(self, run: nb.RunState) -> None:
        self.began.append(run.learned)

    def on_step_end(self, run: nb.RunState) -> None:
        if (run.task, run.step, self.began) == (1, 1, [0]):
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("magmax", {}),
        ("task_arithmetic", {}),
        ("opcm", {}),
        ("ema", {}),
        ("ema", {"start": "sequential", "rule": "running"}),
    ],
)
def test_a_second_task_that_broke_off_is_learned_as_if_it_had_not(
    method: str, settings: dict[str, Any], images: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    common: dict[str, Any] = {"model": f"local-dir:{tiny_clip}", "iterations": 4, "batch_size": 4, "lr": 0.01}
    common |= {"device": "cpu", "plots": False, "silent": True, **settings}

    def run(folder: str, *callbacks: nb.Callback) -> dict[str, bytes]:
        done = nb.run(method, f"folder:{images}", results=tmp_path / folder, callbacks=callbacks, **common)
        return {file.name: file.read_bytes() for file in done.folder.glob("*.safetensors")}

    stop = BreaksOff()
    with pytest.raises(KeyboardInterrupt):
        run("broken-off", stop)
    found = run("broken-off", stop)
    assert stop.began == [0, 1]
    assert "model.safetensors" in found and found == run("straight")
