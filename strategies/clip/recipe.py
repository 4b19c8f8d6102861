"""Values that a backward pass can form again from what autograd keeps anyway, so that a layer need not keep them too.

A layer norm keeps its own input for the backward pass, an activation likewise. A frozen layer behind them keeps nothing,
but a low-rank update of it whose first factor learns needs the layer's input. To form this again takes a pass over memory,
far less than the layer's product; to keep it takes as much memory as all the frozen layers of the block keep of it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from open_clip.transformer import LayerNorm, ResidualAttentionBlock
from torch import Tensor, nn


class Recipe(NamedTuple):
    """How a value is formed again, to the last bit: as form(source).

    Attributes:
        form: a function of one tensor, which does the same at each call.
        source: a tensor that autograd keeps for the backward pass in any case.
    """

    form: Callable[[Tensor], Tensor]
    source: Tensor


def with_recipe(value: Tensor, form: Callable[[Tensor], Tensor], source: Tensor) -> Tensor:
    """Returns `value`, for which `recipe_of` gives a recipe from now on, unless nothing is kept for a backward pass.

    Args:
        value: what form(source) has returned.
        form, source: as in `Recipe`.
    """
    # Under torch.compile the compiler itself decides what is kept and what is formed again.
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        value.recipe = Recipe(form, source), value._version  # type: ignore[attr-defined]
    return value


def recipe_of(value: Tensor) -> Recipe | None:
    """Returns how to form a value again; None if that is not known, as after a change in place."""
    if torch.compiler.is_compiling():
        return None
    recipe, version = getattr(value, "recipe", (None, 0))
    return recipe if recipe is not None and value._version == version else None


class _Again(nn.Module):
    """A module that computes each token by itself, and tells how to form its output again from its input."""

    takes_one_token = takes_packed = True

    def forward(self, x: Tensor) -> Any:
        return with_recipe(super().forward(x), super().forward, x)


class AgainGELU(_Again, nn.GELU):
    """torch's GELU, whose outputs have a recipe."""


class AgainLayerNorm(_Again, LayerNorm):
    """open_clip's layer norm, whose outputs have a recipe."""

    def forward(self, x: Tensor) -> Any:
        # Autocast converts other inputs, and autograd keeps what they are converted to.
        return super().forward(x) if x.dtype == self.weight.dtype else LayerNorm.forward(self, x)


KINDS: dict[type[nn.Module], type[nn.Module]] = {LayerNorm: AgainLayerNorm, nn.GELU: AgainGELU}


def tell_recipes(clip: nn.Module) -> None:
    """Turns layer norms and GELUs of an open_clip model's blocks into those whose outputs have a recipe, in place.

    They compute the same. (QuickGELU becomes such a module in `strategies.clip.activation.fuse`.)
    """
    for block in clip.modules():
        if isinstance(block, ResidualAttentionBlock):
            for part in (block.ln_1, block.ln_2, *block.mlp):
                part.__class__ = KINDS.get(type(part), type(part))
