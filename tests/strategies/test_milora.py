"""MiLoRA: where both variants start, what is merged, and that a task that broke off leaves nothing half subtracted."""

import math

import pytest
import torch
from pydantic import ValidationError

from strategies.clip.weight_matrices import weight_matrices
from strategies.milora import Plugin, Settings
from strategies.shared.fused_low_rank import keep
from strategies.shared.low_rank import attach, merge
from tests.models import (
    applied,
    assert_learns_as_if_new,
    broken_off,
    tiny_classifier,
    tiny_experiences,
    tiny_template,
)


VARIANTS = ["original", "released"]


def tail_of(weight: torch.Tensor, rank: int) -> torch.Tensor:
    """The sum of the `rank` smallest singular triplets of a weight, in float64."""
    u, s, vh = torch.linalg.svd(weight.double(), full_matrices=False)
    return sum((s[i] * torch.outer(u[:, i], vh[i]) for i in range(len(s) - rank, len(s))), torch.zeros_like(vh[0]))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [(9, 7), (7, 9), (8, 8)])
def test_the_factors_are_the_tail_with_its_singular_values_shared_out_evenly(
    variant: str, shape: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    weight = torch.randn(shape)
    update = Plugin(Settings(rank=3, variant=variant)).make_update(weight)  # type: ignore[arg-type]
    assert {name for name, _ in update.named_parameters()} == {"down", "up"}
    up, down = update.up.double(), update.down.double()
    assert torch.allclose(up @ down, tail_of(weight, 3), atol=1e-5)
    smallest = torch.linalg.svdvals(weight.double())[-3:]
    assert torch.allclose(up.T @ up, torch.diag(smallest), atol=1e-5)
    assert torch.allclose(down @ down.T, torch.diag(smallest), atol=1e-5)


def test_original_starts_at_the_same_function_and_released_at_w_plus_the_scaled_tail() -> None:
    torch.manual_seed(1)
    weight, x = torch.randn(8, 6), torch.randn(2, 5, 6)
    original = Plugin(Settings(rank=2, alpha=3)).make_update(weight).eval()
    assert not original.delta().any()  # not one bit
    assert applied(original, x).abs().max() < 1e-6  # a processor may round the two products differently
    released = Plugin(Settings(rank=2, alpha=3, variant="released")).make_update(weight).eval()
    start = 3 / math.sqrt(2) * tail_of(weight, 2)
    assert torch.allclose(released.delta().double(), start, atol=1e-5)
    assert torch.allclose(applied(released, x).double(), x.double() @ start.T, atol=1e-5)


def test_the_whole_model_starts_where_it_was_and_what_is_merged_is_what_was_computed() -> None:
    classifier = tiny_classifier().eval()
    plugin = Plugin(Settings(rank=3))
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)

    def features() -> torch.Tensor:
        with torch.no_grad():
            return torch.cat([classifier.encode_images(images), classifier.training_features(0)])

    before = features()
    updates = {site: plugin.make_update(site.weight().detach()).eval() for site in weight_matrices(classifier.clip)}
    attach(updates)
    assert (features() - before).abs().max() < 1e-6
    for update in updates.values():
        torch.nn.init.normal_(update.up)
    moved = features()
    merge(classifier.clip, updates)
    assert (moved - before).abs().max() > 1e-2
    assert (features() - moved).abs().max() < 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_merged_weight_is_the_formula(variant: str) -> None:
    classifier = tiny_classifier()
    plugin = Plugin(Settings(rank=3, variant=variant))  # type: ignore[arg-type]
    before = {site: site.weight().detach().double() for site in weight_matrices(classifier.clip)}
    learned: dict[str, torch.Tensor] = {}

    def note() -> None:
        for site, update in plugin.updates.items():
            learned[site.name] = update.up.detach().double() @ update.down.detach().double()

    tiny_template(classifier, [plugin], on_step=note).train(tiny_experiences()[0])
    factor = 2 / math.sqrt(3)
    for site, weight in before.items():
        frozen = weight - factor * tail_of(weight, 3) if variant == "original" else weight
        expected = frozen + factor * learned[site.name]
        assert (site.weight().detach() - expected).abs().max() < 1e-5
        assert not torch.allclose(learned[site.name], tail_of(weight, 3), atol=1e-3)  # it did learn


def test_the_frozen_part_sees_the_input_and_the_factors_its_dropout() -> None:
    torch.manual_seed(2)
    weight, x = torch.randn(8, 6), torch.randn(50, 6)
    update = Plugin(Settings(rank=2, dropout=0.5)).make_update(weight).train()
    torch.nn.init.normal_(update.up)
    torch.manual_seed(3)
    dropped = 2 * keep(x, 0.5) * x.double()
    torch.manual_seed(3)
    found = applied(update, x).double()
    learned = update.up.detach().double() @ update.down.detach().double()
    expected = 2 / math.sqrt(2) * (dropped @ learned.T - x.double() @ tail_of(weight, 2).T)
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_start_that_stays_shares_no_storage_with_what_is_trained() -> None:
    update = Plugin(Settings(rank=2)).make_update(torch.randn(8, 6))
    buffers = {buffer.data_ptr() for buffer in update.buffers()}
    assert len(buffers) == 2 and not buffers & {parameter.data_ptr() for parameter in update.parameters()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_task_that_broke_off_leaves_every_bit_of_the_weights(variant: str) -> None:
    plugin, fresh = (Plugin(Settings(rank=4, variant=variant)) for _ in range(2))  # type: ignore[arg-type]
    assert_learns_as_if_new(broken_off(plugin), plugin, fresh)
    assert plugin.state_dict() == {}


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError):
        Settings(variant="authors")  # type: ignore[arg-type]


@pytest.mark.slow
def test_trained_parameters_on_vit_b_16_are_the_published_ones() -> None:
    import open_clip

    clip = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False)
    plugin = Plugin(Settings())
    assert (
        sum(p.numel() for site in weight_matrices(clip) for p in plugin.make_update(site.weight()).parameters())
        == 15_728_640
    )
