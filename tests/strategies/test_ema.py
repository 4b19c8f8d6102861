"""EMA: the average against its closed form, where tasks start, that the default is WiSE-FT, and resuming."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from strategies import wise_ft
from strategies.ema import Plugin, Settings
from tests.merging import close, stored_on_vit_b_16, trained
from tests.models import assert_resumes, snapshot, tiny_classifier, tiny_experiences, tiny_template


CPU = torch.device("cpu")


@pytest.mark.parametrize("start", ["deployed", "sequential", "initial"])
@pytest.mark.parametrize("rule", ["ema", "running"])
def test_what_is_deployed_is_the_closed_form_over_all_ends(rule: Any, start: Any, device: torch.device) -> None:
    found = trained(Plugin(Settings(rule=rule, start=start, alpha=0.3)), device)
    for tasks in (1, 2, 3):
        shares = [0.7**tasks, *(0.3 * 0.7 ** (tasks - task) for task in range(1, tasks + 1))]
        if rule == "running":
            shares = [0.0, *[1 / tasks] * tasks]
        parts = list(zip(shares, [found.initial, *found.ends[:tasks]], strict=True))
        assert sum(shares) == pytest.approx(1)
        expected = {name: torch.stack([share * part[name] for share, part in parts]).sum(0) for name in found.initial}
        assert close(found.deployed[tasks - 1], expected)


@pytest.mark.parametrize("start", ["deployed", "sequential", "initial"])
def test_a_task_starts_where_the_setting_says(start: Any, device: torch.device) -> None:
    found = trained(Plugin(Settings(start=start)), device)
    assert close(found.starts[0], found.initial, atol=0)
    before = {"deployed": found.deployed, "sequential": found.ends, "initial": [found.initial] * 3}[start]
    assert all(close(found.starts[task], before[task - 1], atol=0) for task in (1, 2))
    assert not close(found.ends[0], found.deployed[0], atol=1e-3)


def test_from_the_average_on_both_towers_it_is_wise_ft(device: torch.device) -> None:
    one, other = (tiny_classifier(device=device) for _ in range(2))
    template = tiny_template(one, [Plugin(Settings(towers="both", alpha=0.8))])
    known = tiny_template(other, [wise_ft.Plugin(wise_ft.Settings(alpha=0.8))])
    for experience in tiny_experiences():
        template.train(experience)
        known.train(experience)
    assert all(torch.equal(tensor, snapshot(other.clip)[name]) for name, tensor in snapshot(one.clip).items())


@pytest.mark.parametrize(("start", "kinds"), [("deployed", set()), ("sequential", {"last"}), ("initial", {"initial"})])
@pytest.mark.parametrize("rule", ["ema", "running"])
def test_it_stores_no_more_than_the_start_and_the_rule_need(rule: Any, start: Any, kinds: set[str]) -> None:
    plugin = Plugin(Settings(rule=rule, start=start))
    trained(plugin, CPU, (0, 1))
    found = {name.partition(".")[0] for name in plugin.state_dict()}
    assert found == kinds | ({"tasks"} if rule == "running" else set())


@pytest.mark.parametrize("settings", [{"rule": "running"}, {"start": "sequential"}, {"start": "initial"}])
def test_a_killed_run_goes_on_bit_for_bit(settings: dict[str, Any]) -> None:
    assert_resumes(Plugin(Settings(**settings)), Plugin(Settings(**settings)))


def test_the_model_alone_is_enough_to_go_on_from_the_average() -> None:
    whole = trained(Plugin(Settings()), CPU, (0, 1))
    half = trained(Plugin(Settings()), CPU, (0,))
    tiny_template(half.model, [Plugin(Settings())]).train(tiny_experiences()[1])
    assert all(torch.equal(each, snapshot(whole.model.clip)[n]) for n, each in snapshot(half.model.clip).items())


@pytest.mark.slow
@pytest.mark.parametrize(("start", "times"), [("deployed", 0), ("sequential", 1), ("initial", 1)])
def test_it_stores_no_or_one_image_tower_of_vit_b_16(start: Any, times: int) -> None:
    assert stored_on_vit_b_16(Plugin(Settings(start=start))) == times


@pytest.mark.parametrize("wrong", [{"alpha": 1.1}, {"alpha": -0.1}, {"start": "random"}, {"rule": "max"}])
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)
