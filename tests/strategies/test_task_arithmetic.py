"""Task arithmetic: the sum against all task vectors, the start of each task, and resuming."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from strategies.task_arithmetic import Plugin, Settings
from tests.merging import close, stored_on_vit_b_16, trained
from tests.models import assert_resumes


@pytest.mark.parametrize("settings", [{}, {"scale": 0.7}, {"rule": "average"}])
def test_what_is_deployed_is_the_closed_form_over_all_task_vectors(
    settings: dict[str, Any], device: torch.device
) -> None:
    found = trained(Plugin(Settings(**settings)), device)
    for task, deployed in enumerate(found.deployed):
        past = found.vectors()[: task + 1]
        factor = 1 / len(past) if settings.get("rule") == "average" else settings.get("scale", 0.3)
        sums = {name: torch.stack([vector[name] for vector in past]).sum(0) for name in found.initial}
        assert close(deployed, {name: found.initial[name] + factor * each for name, each in sums.items()})
    if settings.get("rule") == "average":
        mean = {name: torch.stack([end[name] for end in found.ends]).mean(0) for name in found.initial}
        assert close(found.deployed[-1], mean)  # the mean of the fine-tuned models themselves


def test_every_task_starts_from_the_initial_weights(device: torch.device) -> None:
    found = trained(Plugin(Settings()), device)
    assert all(close(start, found.initial, atol=0) for start in found.starts)
    assert not close(found.deployed[0], found.initial, atol=1e-3)


@pytest.mark.parametrize("rule", ["sum", "average"])
def test_a_killed_run_goes_on_bit_for_bit(rule: Any) -> None:
    assert_resumes(Plugin(Settings(rule=rule)), Plugin(Settings(rule=rule)))


def test_it_stores_theta_0_the_sum_and_the_number_of_tasks() -> None:
    plugin = Plugin(Settings())
    trained(plugin, torch.device("cpu"), (0, 1))
    assert {name.partition(".")[0] for name in plugin.state_dict()} == {"initial", "sum", "tasks"}
    assert plugin.state_dict()["tasks"].tolist() == 2


@pytest.mark.slow
def test_it_stores_two_image_towers_of_vit_b_16() -> None:
    assert stored_on_vit_b_16(Plugin(Settings())) == 2


@pytest.mark.parametrize("wrong", [{"scale": 0.0}, {"rule": "ties"}])
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)
