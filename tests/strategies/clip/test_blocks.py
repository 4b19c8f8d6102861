"""The last block at one token, and packed texts: the same features and gradients as open_clip's, in float64."""

from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn

from strategies.clip import prompts
from strategies.clip.blocks import LastBlock, allow, read_one_token, spare_copies
from tests.conftest import TINY


END = 49
TEXTS = torch.tensor([[48, 3, 4, 7, END, 0, 0, 0], [48, 3, 5, END, 0, 0, 0, 0], [48, 3, 6, 7, 8, 9, END, 0]])


def model(text: dict[str, Any], vision: dict[str, Any], custom: bool = False) -> Any:
    torch.manual_seed(0)
    small = {"context_length": 8, "vocab_size": 50, "width": 24, "heads": 2, "layers": 3}
    config = {**TINY, "text_cfg": {**small, **text}, "vision_cfg": {**TINY["vision_cfg"], **vision}}  # type: ignore[dict-item]
    clip = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config).double()
    for parameter in clip.parameters():
        nn.init.normal_(parameter, std=0.3)  # so that no bias or layer norm is the identity
    return clip


def features(clip: Any, images: Tensor) -> Tensor:
    packed = prompts.packed(clip, TEXTS)
    texts = prompts.encode(clip, TEXTS) if packed is None else prompts.encode_packed(clip, packed)
    return torch.cat([clip.encode_image(images), texts])


def gradients(clip: Any, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    clip.zero_grad()
    found = features(clip, images)
    (found * torch.linspace(-1, 2, found.numel(), dtype=found.dtype).view_as(found)).sum().backward()
    each = {name: parameter.grad.clone() for name, parameter in clip.named_parameters() if parameter.grad is not None}
    return found.detach(), each


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("custom", [False, True])
@pytest.mark.parametrize("text", [{}, {"pool_type": "eos", "eos_id": END}, {"layers": 1}, {"ls_init_value": 0.3}])
@pytest.mark.parametrize("vision", [{}, {"final_ln_after_pool": True}, {"layers": 1}])
def test_features_and_gradients_are_those_of_the_whole_towers(
    text: dict[str, Any], vision: dict[str, Any], custom: bool, checkpointing: bool
) -> None:
    clip, images = model(text, vision, custom), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    expected, wanted = gradients(clip, images)
    spare_copies(clip)
    read_one_token(clip)
    clip.set_grad_checkpointing(checkpointing)
    packed = prompts.packed(clip, TEXTS)
    assert packed is not None
    assert (packed.shared, len(packed.tokens)) == (2, 2 + 3 + 2 + 5)
    found, gradient = gradients(clip, images)
    assert (found - expected).abs().max() < 1e-11
    assert gradient.keys() == wanted.keys()
    for name, each in gradient.items():
        assert (each - wanted[name]).abs().max() < 1e-10 * (1 + wanted[name].abs().max()), name


def test_of_the_last_block_one_token_is_computed() -> None:
    clip = model({}, {})
    spare_copies(clip)
    read_one_token(clip)
    shapes: list[tuple[int, ...]] = []
    for block in (clip.visual.transformer.resblocks[-1], clip.transformer.resblocks[-1]):
        block.mlp.c_fc.register_forward_hook(
            allow(lambda _, inputs, __: shapes.append(tuple(inputs[0].shape)), "takes_one_token", "takes_packed")
        )
    features(clip, torch.randn(2, 3, 16, 16, dtype=torch.float64))
    assert shapes == [(3, 1, 24), (2, 1, 32)]


def test_a_random_part_keeps_each_text_to_itself() -> None:
    clip = model({}, {})
    spare_copies(clip)
    read_one_token(clip)
    clip.transformer.resblocks[0].mlp.append(nn.Dropout(0.5))
    packed, apart = prompts.packed(clip.eval(), TEXTS), prompts.packed(clip.train(), TEXTS)
    assert packed is not None
    assert apart is not None
    assert (packed.shared, len(packed.tokens)) == (2, 12)
    assert (apart.shared, len(apart.tokens)) == (0, 16)


@pytest.mark.parametrize("hooked", ["the block", "a part of it"])
def test_a_block_that_something_watches_gets_all_tokens(hooked: str) -> None:
    clip, images = model({}, {}), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    expected = features(clip, images)
    spare_copies(clip)
    read_one_token(clip)
    seen: list[int] = []
    for last in (clip.visual.transformer.resblocks[-1], clip.transformer.resblocks[-1]):
        watched = last if hooked == "the block" else last.ln_2
        watched.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    assert prompts.packed(clip, TEXTS) is None
    assert (features(clip, images) - expected).abs().max() < 1e-11
    assert seen == [8, 5]


def test_a_block_with_another_attention_gets_all_tokens() -> None:
    class Doubled(nn.MultiheadAttention):
        def forward(self, query: Tensor, *_: Any, attn_mask: Tensor | None = None, **__: Any) -> Any:
            return 2 * super().forward(query, query, query, need_weights=False, attn_mask=attn_mask)[0], None

    clip, images = model({}, {}), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    lasts = (clip.visual.transformer.resblocks[-1], clip.transformer.resblocks[-1])
    for last in lasts:
        last.attn.__class__ = Doubled
    expected = features(clip, images)
    for last in lasts:
        last.attn.__class__ = nn.MultiheadAttention
    spare_copies(clip)
    read_one_token(clip)
    for last in lasts:
        last.attn.__class__ = Doubled
    assert (features(clip, images) - expected).abs().max() < 1e-11


@pytest.mark.parametrize("vision", [{"pool_type": "avg"}, {"attentional_pool": True, "attn_pooler_queries": 4}])
def test_a_tower_that_reads_more_than_one_token_stays(vision: dict[str, Any]) -> None:
    clip = model({}, vision)
    spare_copies(clip)
    read_one_token(clip)
    assert not isinstance(clip.visual.transformer.resblocks[-1], LastBlock)
    assert isinstance(clip.transformer.resblocks[-1], LastBlock)


@pytest.mark.parametrize("text", [{"pool_type": "last"}, {"no_causal_mask": True}, {"embed_cls": True}])
def test_texts_of_other_towers_are_not_packed(text: dict[str, Any]) -> None:
    clip, images = model(text, {}, custom=True), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    expected = features(clip, images)
    spare_copies(clip)
    read_one_token(clip)
    assert prompts.packed(clip, TEXTS) is None
    assert (features(clip, images) - expected).abs().max() < 1e-11
