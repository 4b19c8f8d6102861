"""What merging methods share: what learns, theta_0, and that no more than is stored decides how a run goes on."""

from typing import Any

import pytest
import torch

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


def test_a_task_that_broke_off_starts_again_from_the_initial_weights() -> None:
    classifier = tiny_classifier()

    def stop() -> None:
        raise KeyboardInterrupt

    plugin = task_arithmetic.Plugin(task_arithmetic.Settings())
    with pytest.raises(KeyboardInterrupt):
        tiny_template(classifier, [plugin], on_step=stop).train(tiny_experiences()[0])
    tiny_template(classifier, [plugin]).train(tiny_experiences()[0])
    straight = trained(task_arithmetic.Plugin(task_arithmetic.Settings()), CPU, (0,))
    assert all(torch.equal(tensor, snapshot(straight.model.clip)[n]) for n, tensor in snapshot(classifier.clip).items())
