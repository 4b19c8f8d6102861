"""Prompts cut behind their ends: the same features and gradients where the tower is causal, whole prompts elsewhere."""

from typing import Any

import open_clip
import pytest
import torch

from strategies.clip.prompts import encode, length
from tests.conftest import TINY


TOKENS = torch.tensor([[48, 3, 4, 49, 0, 0, 0, 0], [48, 5, 49, 0, 0, 0, 0, 0], [48, 6, 7, 8, 49, 0, 0, 0]])


def model(custom: bool = False, **text: Any) -> Any:
    torch.manual_seed(0)
    config = {**TINY, "text_cfg": {"context_length": 8, "vocab_size": 50, "width": 24, "heads": 2, "layers": 2, **text}}
    return (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config).double()


@pytest.mark.parametrize("custom", [False, True])
@pytest.mark.parametrize("text", [{}, {"pool_type": "eos", "eos_id": 49}])
def test_causal_towers_give_the_same_features_and_gradients(custom: bool, text: dict[str, Any]) -> None:
    clip = model(custom, **text)
    whole = clip.encode_text(TOKENS)
    whole.square().sum().backward()
    gradients = {
        name: parameter.grad.clone() for name, parameter in clip.named_parameters() if parameter.grad is not None
    }
    clip.zero_grad()
    assert length(clip, TOKENS) == 5
    cut = encode(clip, TOKENS[:, :5])
    cut.square().sum().backward()
    assert (cut - whole).abs().max() < 1e-12
    assert gradients
    for name, parameter in clip.named_parameters():
        if name in gradients:
            assert (parameter.grad - gradients[name]).abs().max() < 1e-12, name
    assert torch.equal(clip.encode_text(TOKENS), whole)  # the model is as it was


@pytest.mark.parametrize("text", [{"pool_type": "last"}, {"no_causal_mask": True}])
def test_other_towers_keep_their_padding(text: dict[str, Any]) -> None:
    clip = model(custom=True, **text)
    assert length(clip, TOKENS) == 8
    assert torch.equal(encode(clip, TOKENS), clip.encode_text(TOKENS))


def test_a_tower_that_reads_a_token_behind_the_padding_keeps_it() -> None:
    assert length(model(custom=True, embed_cls=True), TOKENS) == 8
