"""Values that are formed again for the backward pass: the same to the last bit, and kept by nobody besides."""

from functools import partial
from typing import Any

import open_clip
import torch
from open_clip.transformer import LayerNorm
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from strategies.clip.activation import FusedQuickGELU
from strategies.clip.recipe import AgainGELU, AgainLayerNorm, recipe_of, tell_recipes
from strategies.shared.fused_low_rank import Factors, Part, adapted_linear
from tests.conftest import TINY


TOKENS, D = 6, 64


def norm(device: torch.device) -> AgainLayerNorm:
    found = AgainLayerNorm(D).to(device).requires_grad_(False)
    nn.init.normal_(found.get_parameter("weight"))
    return found


def kinds(device: torch.device) -> list[nn.Module]:
    return [norm(device), AgainGELU(), FusedQuickGELU()]


def leaf(device: torch.device, *shape: int) -> Tensor:
    return torch.randn(shape, device=device).requires_grad_(True)


def test_a_value_is_formed_again_to_the_last_bit(device: torch.device) -> None:
    torch.manual_seed(0)
    for module in kinds(device):
        x = leaf(device, 2, TOKENS, D)
        y = module(x)
        recipe = recipe_of(y)
        assert recipe is not None
        assert torch.equal(recipe.form(recipe.source), y)


def test_without_a_backward_pass_and_after_a_change_in_place_there_is_no_recipe(device: torch.device) -> None:
    for module in kinds(device):
        with torch.no_grad():
            assert recipe_of(module(leaf(device, TOKENS, D))) is None
        assert recipe_of(module(leaf(device, TOKENS, D)).mul_(2)) is None
    assert recipe_of(norm(device)(leaf(device, TOKENS, D).to(torch.bfloat16))) is None


def test_a_models_layer_norms_and_activations_compute_the_same(device: torch.device) -> None:
    torch.manual_seed(1)
    clip = open_clip.CLIP(**TINY).to(device)
    pixels = torch.randn(2, 3, clip.visual.image_size[0], clip.visual.image_size[0], device=device)
    before = clip.encode_image(pixels)
    tell_recipes(clip)
    block = clip.visual.transformer.resblocks[0]
    assert (type(block.ln_1), type(block.ln_2), type(block.mlp.gelu)) == (AgainLayerNorm, AgainLayerNorm, AgainGELU)
    assert type(clip.visual.ln_post) is LayerNorm  # no low-rank update reads its output
    assert torch.equal(clip.encode_image(pixels), before)


def learned(device: torch.device) -> tuple[Tensor, list[tuple[Part, Factors]]]:
    """A weight (D, D), and the one term of an update of it, both of whose factors learn."""
    down, up = leaf(device, 3, D), leaf(device, D, 3)
    return torch.randn(D, D, device=device), [(Part(slice(0, D), 0.7, 0.25), (down, None, up))]


def gradients(outputs: Any, x: Tensor, terms: list[tuple[Part, Factors]]) -> list[Tensor]:
    """The gradients of x and the factors; dropout is drawn as in every call of this function."""
    torch.manual_seed(2)
    (_, (down, _, up)) = terms[0]
    return list(torch.autograd.grad(outputs().square().sum(), [x, down, up]))


def test_a_low_rank_layer_keeps_no_input_that_can_be_formed_again(device: torch.device) -> None:
    torch.manual_seed(3)
    for before in kinds(device):
        x, (weight, terms) = leaf(device, TOKENS, D), learned(device)
        kept: list[Tensor] = []

        def keep(tensor: Tensor, kept: list[Tensor] = kept) -> Tensor:
            kept.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            adapted_linear(before(x), weight, None, terms)
        value = before(x)
        assert kept
        assert not any(each.shape == value.shape and torch.equal(each, value) for each in kept)


def test_gradients_are_those_of_a_kept_input_with_checkpointing_too(device: torch.device) -> None:
    torch.manual_seed(4)
    for before in kinds(device):
        x, (weight, terms) = leaf(device, TOKENS, D), learned(device)

        def again(x: Tensor, before: nn.Module = before, weight: Tensor = weight, terms: Any = terms) -> Tensor:
            return adapted_linear(before(x), weight, None, terms)

        def kept(before: nn.Module = before, x: Tensor = x, weight: Tensor = weight, terms: Any = terms) -> Tensor:
            return adapted_linear(before(x).clone(), weight, None, terms)

        wanted = gradients(kept, x, terms)
        for run in (partial(again, x), partial(checkpoint, again, x, use_reentrant=False)):
            found = gradients(run, x, terms)
            assert all(torch.equal(one, two) for one, two in zip(found, wanted, strict=True))
