"""OPCM: projection and scaling against the full SVD in float64 with all task vectors, and resuming."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from strategies.opcm import Plugin, Settings, linear_maps, projected
from tests.merging import Weights, close, stored_on_vit_b_16, trained
from tests.models import assert_resumes, tiny_model


def plain(vector: Tensor, merged: Tensor, alpha: float) -> Tensor:
    """U M V^T (d_out, d_in) with the square U and V of the full SVD, entry by entry."""
    u, s, vh = torch.linalg.svd(merged.double(), full_matrices=True)
    p = next(index for index in range(len(s)) if s[: index + 1].sum() / s.sum() > alpha)
    m = u.T @ vector.double() @ vh.T
    for i in range(len(u)):
        for j in range(len(vh)):
            if i == j or (i < p and j < p):
                m[i, j] = 0
    return u @ m @ vh


@pytest.mark.parametrize("shape", [(7, 7), (9, 5), (5, 9)])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.99])
def test_the_projection_is_that_of_the_full_svd(shape: tuple[int, int], alpha: float, device: torch.device) -> None:
    merged, vector = (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    found = projected(vector.to(device), merged.to(device), alpha).cpu().double()
    assert torch.allclose(found, plain(vector, merged, alpha), atol=1e-5)
    assert not torch.allclose(found, vector.double(), atol=1e-2)


def test_directions_count_by_plain_sums_and_not_by_squares() -> None:
    merged, vector = torch.diag(torch.tensor([3.0, 2, 2, 1])), torch.ones(4, 4)
    found = projected(
        vector, merged, 0.5
    )  # 3 / 8, then 5 / 8: one direction is closed; of the squares 9 / 18 and 13 / 18
    assert torch.allclose(found, torch.ones(4, 4) - torch.eye(4), atol=1e-5)
    found = projected(vector, merged, 0.7)  # two are closed
    assert float(found[0, 1].abs() + found[1, 0].abs()) < 1e-5 and float(found[0, 2]) == pytest.approx(1)


def test_what_is_not_merged_yet_takes_the_whole_change() -> None:
    vector = torch.randn(3, 4)
    assert torch.equal(projected(vector, torch.zeros(3, 4), 0.5), vector)


def reference(vectors: list[Weights], alpha: float, maps: dict[str, int]) -> Weights:
    """D * mean(n) / ||D|| by the definition, with q, k and v apart."""
    total = {name: tensor.clone() for name, tensor in vectors[0].items()}
    for vector in vectors[1:]:
        for name, tensor in vector.items():
            if name in maps:
                parts = zip(tensor.chunk(maps[name]), total[name].chunk(maps[name]), strict=True)
                tensor = torch.cat([plain(part, old, alpha) for part, old in parts])
            total[name] = total[name] + tensor
    norms = [torch.cat([each.flatten() for each in vector.values()]).norm() for vector in vectors]
    scale = sum(norms) / len(norms) / torch.cat([each.flatten() for each in total.values()]).norm()
    return {name: scale * tensor for name, tensor in total.items()}


@pytest.mark.parametrize("towers", ["image", "both"])
def test_what_is_deployed_is_the_closed_form_over_all_task_vectors(towers: Any) -> None:
    found = trained(Plugin(Settings(towers=towers)), torch.device("cpu"))
    maps = linear_maps(found.model.clip)
    for tasks in (1, 2, 3):
        change = reference(found.vectors()[:tasks], 0.5, maps)
        expected = {name: found.initial[name] + change[name] for name in change}
        assert close(found.deployed[tasks - 1], expected, atol=1e-5)
    assert all(close(start, found.initial, atol=0) for start in found.starts)


def test_the_first_task_is_deployed_as_it_was_fine_tuned() -> None:
    found = trained(Plugin(Settings()), torch.device("cpu"), (0,))
    assert close(found.deployed[0], found.ends[0])


def test_the_same_change_of_linear_maps_again_gives_the_same_model() -> None:
    plugin = Plugin(Settings())
    initial = {name: torch.randn(shape) for name, shape in (("a.weight", (6, 4)), ("attn.in_proj_weight", (9, 3)))}
    plugin._parts = {"a.weight": 1, "attn.in_proj_weight": 3}
    plugin.keep("initial", initial)
    tuned = {name: tensor + torch.randn_like(tensor) for name, tensor in initial.items()}
    first = plugin.merged(tuned)
    again = plugin.merged(tuned)
    for name, tensor in tuned.items():
        assert torch.allclose(first[name], tensor, atol=1e-6) and torch.allclose(again[name], tensor, atol=1e-5)
    assert plugin.stored["norms"].shape == (2,)


def test_q_k_and_v_are_matrices_of_their_own_and_embeddings_no_linear_maps() -> None:
    clip = tiny_model()
    maps, names = linear_maps(clip), dict(clip.named_parameters())
    assert set(maps) <= set(names)
    block = "visual.transformer.resblocks.0"
    assert maps[f"{block}.attn.in_proj_weight"] == 3
    assert maps[f"{block}.attn.out_proj.weight"] == maps[f"{block}.mlp.c_fc.weight"] == maps["visual.proj"] == 1
    assert not {"visual.class_embedding", "visual.positional_embedding", "visual.conv1.weight"} & set(maps)
    assert not {"token_embedding.weight", "positional_embedding"} & set(maps)


def test_a_task_that_changes_nothing_leaves_the_initial_weights() -> None:
    plugin = Plugin(Settings())
    plugin.keep("initial", {"w": torch.ones(2)})
    assert plugin.merged({"w": torch.ones(2)})["w"].tolist() == [1, 1]


def test_a_killed_run_goes_on_bit_for_bit() -> None:
    assert_resumes(Plugin(Settings()), Plugin(Settings()))


def test_it_stores_theta_0_the_sum_and_a_number_for_each_task() -> None:
    plugin = Plugin(Settings())
    trained(plugin, torch.device("cpu"), (0, 1))
    state = plugin.state_dict()
    assert {name.partition(".")[0] for name in state} == {"initial", "sum", "norms"} and state["norms"].shape == (2,)
    assert plugin.decomposition_seconds > 0


@pytest.mark.slow
def test_it_stores_two_image_towers_of_vit_b_16() -> None:
    assert stored_on_vit_b_16(Plugin(Settings())) == 2


@pytest.mark.parametrize("wrong", [{"alpha": 1.0}, {"alpha": -0.1}])
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)  # type: ignore[arg-type]
