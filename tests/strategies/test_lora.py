"""LoRA: its start, what it trains, and that it begins anew after each task."""

import pytest
import torch

from strategies.clip.weight_matrices import weight_matrices
from strategies.lora import Plugin, Settings
from tests.models import snapshot, tiny_classifier, tiny_experiences, tiny_template


def test_the_update_starts_at_zero_and_trains_both_factors(device: torch.device) -> None:
    update = Plugin(Settings(rank=3)).make_update(torch.randn(8, 5).to(device))
    assert not update.delta().any()
    assert update.down.any() and update.core is None
    assert {name for name, _ in update.named_parameters()} == {"down", "up"}
    bound = 1 / 5**0.5  # Kaiming-uniform with a = sqrt(5)
    assert update.down.abs().max() <= bound


def test_only_the_chosen_matrices_change_by_a_low_rank_update(device: torch.device) -> None:
    classifier = tiny_classifier(device=device)
    before = snapshot(classifier.clip)
    weights = {site: site.weight().detach().clone() for site in weight_matrices(classifier.clip)}
    template = tiny_template(classifier, [Plugin(Settings(rank=2))])
    template.train(tiny_experiences()[0])
    for site, weight in weights.items():
        assert torch.linalg.matrix_rank(site.weight().detach() - weight, rtol=1e-4) == 2
    changed = {name for name, tensor in snapshot(classifier.clip).items() if not torch.equal(tensor, before[name])}
    assert all("attn" in name and name.endswith("weight") for name in changed)
    assert template.trained_count == sum(2 * sum(weight.shape) for weight in weights.values())


def test_each_task_draws_anew(device: torch.device) -> None:
    classifier = tiny_classifier(device=device)
    plugin = Plugin(Settings(rank=2))
    starts: list[torch.Tensor] = []

    def note() -> None:
        if template.clock.train_exp_iterations == 0:
            starts.append(next(iter(plugin.updates.values())).down.detach().clone())

    template = tiny_template(classifier, [plugin], on_step=note)
    for experience in tiny_experiences():
        template.train(experience)
    assert len(starts) == 2 and not torch.allclose(starts[0], starts[1], atol=0.05)


@pytest.mark.slow
def test_trained_parameters_on_vit_b_16_are_the_published_ones() -> None:
    import open_clip

    clip = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False)
    plugin = Plugin(Settings())
    assert (
        sum(p.numel() for site in weight_matrices(clip) for p in plugin.make_update(site.weight()).parameters())
        == 15_728_640
    )
