"""Methods that act inside the towers answer the same whether the last block computes one token or all."""

from typing import Any

import pytest
import torch
from open_clip.transformer import ResidualAttentionBlock

from strategies import diki, lora, moe_adapter
from strategies.clip import images as pictures
from strategies.clip.blocks import LastBlock
from strategies.clip.weight_matrices import blocks, weight_matrices
from strategies.shared.low_rank import attach
from tests.models import tiny_classifier, tiny_experiences, tiny_images, tiny_template


MOE = {"experts": 5, "width": 4, "autoencoder_steps": 3, "reference_steps": 3, "decision": "image"}


def last_blocks(classifier: Any) -> list[Any]:
    return [blocks(classifier.clip, tower)[-1] for tower in ("image", "text")]


def moe_adapter_begun(classifier: Any) -> Any:
    plugin = moe_adapter.Plugin(moe_adapter.Settings(**MOE))  # type: ignore[arg-type]
    plugin.reference_images = tiny_images(2, count=70, seed=8).images
    plugin.begin(classifier)
    return plugin, lambda: plugin.use(0)


def diki_begun(classifier: Any) -> Any:
    plugin = diki.Plugin(diki.Settings())
    plugin.begin(classifier)

    def use() -> None:
        plugin._used, plugin._factors = plugin.tasks[0], dict.fromkeys(("image", "text"), torch.ones(()))  # type: ignore[assignment]

    return plugin, use


@pytest.mark.parametrize("begun", [moe_adapter_begun, diki_begun])
@torch.no_grad()
def test_answers_of_what_hooks_onto_blocks_are_those_of_whole_towers(begun: Any) -> None:
    classifier, images = tiny_classifier(), tiny_images(3, seed=4).images[:]
    plain = classifier.eval()._route_logits(images, range(2), 0)
    plugin, use = begun(classifier)
    template = tiny_template(classifier, [plugin], lr=0.1, iterations=20)
    with torch.enable_grad():
        template.train(tiny_experiences()[0])
    classifier.eval()
    use()
    assert pictures.reads_first_token(classifier.clip)
    found = classifier._route_logits(images, range(2), 0)
    for last in last_blocks(classifier):
        assert type(last) is LastBlock
        last.__class__ = ResidualAttentionBlock
    classifier.forget_texts()
    assert not pictures.reads_first_token(classifier.clip)
    expected = classifier._route_logits(images, range(2), 0)
    assert (found - expected).abs().max() < 1e-4
    assert (found - plain).abs().max() > 1e-2


def test_gradients_of_low_rank_updates_are_those_of_whole_towers() -> None:
    classifier, images = tiny_classifier().requires_grad_(False).train(), tiny_images(3, seed=4).images[:]
    plugin = lora.Plugin(lora.Settings(rank=3, dropout=0.0, matrices=("q", "k", "v", "o", "fc", "proj")))
    updates = {
        place: plugin.make_update(place.weight()) for place in weight_matrices(classifier.clip, "both", plugin.matrices)
    }
    attach(updates)  # type: ignore[arg-type]
    learned = [each for each in classifier.parameters() if each.requires_grad]
    for parameter in learned:
        torch.nn.init.normal_(parameter, std=0.1)

    def gradients() -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(classifier(images, 1).square().sum(), learned)

    found = gradients()
    for last in last_blocks(classifier):
        last.__class__ = ResidualAttentionBlock
    for one, other in zip(found, gradients(), strict=True):
        assert (one - other).abs().max() < 1e-3 * (1 + other.abs().max())
