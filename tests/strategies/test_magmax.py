"""MagMax: the choice of the largest change against all task vectors, its ties, where tasks start, and resuming."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from strategies.magmax import Plugin, Settings
from tests.merging import Weights, close, stored_on_vit_b_16, trained
from tests.models import assert_resumes


def largest(vectors: list[Weights]) -> Weights:
    """Of each entry the vectors' value of the largest magnitude, by sorting all of them."""
    found = {}
    for name in vectors[0]:
        each = torch.stack([vector[name] for vector in vectors])
        order = each.abs().argsort(dim=0, stable=True)  # the last is the largest, and the latest of those
        found[name] = each.gather(0, order[-1:])[0]
    return found


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_what_is_deployed_is_the_closed_form_over_all_task_vectors(scale: float, device: torch.device) -> None:
    found = trained(Plugin(Settings(scale=scale)), device)
    for task, deployed in enumerate(found.deployed):
        chosen = largest(found.vectors()[: task + 1])
        assert close(deployed, {name: found.initial[name] + scale * chosen[name] for name in chosen})
    everything = torch.cat(
        [(a - b).flatten() for a, b in zip(found.vectors()[2].values(), chosen.values(), strict=True)]
    )
    assert 0.05 < float((everything.abs() > 1e-6).double().mean()) < 0.95  # earlier and later tasks were chosen


def test_a_task_starts_from_the_end_of_the_one_before_and_not_from_the_merge(device: torch.device) -> None:
    found = trained(Plugin(Settings()), device)
    assert close(found.starts[0], found.initial, atol=0)
    for task in (1, 2):
        assert close(found.starts[task], found.ends[task - 1], atol=0)
        assert not close(found.starts[task], found.deployed[task - 1], atol=1e-3)


def test_the_later_task_wins_a_tie() -> None:
    plugin = Plugin(Settings(scale=1.0))
    plugin.stored = {"initial.w": torch.zeros(4), "largest.w": torch.tensor([1.0, -2.0, 3.0, 0.0])}
    assert plugin.merged({"w": torch.tensor([-1.0, 2.0, -2.0, 0.0])})["w"].tolist() == [-1, 2, 3, 0]


def test_a_task_that_diverged_is_not_hidden() -> None:
    plugin = Plugin(Settings(scale=1.0))
    plugin.stored = {"initial.w": torch.zeros(2), "largest.w": torch.ones(2)}
    assert plugin.merged({"w": torch.tensor([float("nan"), 2.0])})["w"].isnan().tolist() == [True, False]


def test_a_killed_run_goes_on_bit_for_bit() -> None:
    plugin = Plugin(Settings())
    assert_resumes(plugin, Plugin(Settings()))


def test_it_stores_theta_0_theta_t_and_the_largest_changes() -> None:
    plugin = Plugin(Settings(towers="both"))
    found = trained(plugin, torch.device("cpu"), (0, 1))
    state: Any = plugin.state_dict()
    assert {name.partition(".")[0] for name in state} == {"initial", "last", "largest"}
    assert sum(tensor.numel() for tensor in state.values()) == 3 * sum(each.numel() for each in found.initial.values())


@pytest.mark.slow
def test_it_stores_three_image_towers_of_vit_b_16() -> None:
    assert stored_on_vit_b_16(Plugin(Settings())) == 3


@pytest.mark.parametrize("wrong", [{"scale": 0.0}, {"scale": float("inf")}, {"towers": "text"}])
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)
