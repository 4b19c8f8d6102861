"""The last block at one token, and packed texts: the same features and gradients as open_clip's, in float64."""

from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn

from strategies.clip import images as pictures
from strategies.clip import prompts
from strategies.clip.blocks import allow, ready_for_one_token, spare_copies
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
    """Of the two images and of TEXTS, as the classifier computes them; (5, D)."""
    packed = prompts.packed(clip, TEXTS)
    texts = prompts.encode(clip, TEXTS) if packed is None else prompts.encode_packed(clip, packed)
    return torch.cat([pictures.encode(clip, images), texts])


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
    ready_for_one_token(clip)
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
    ready_for_one_token(clip)
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
    ready_for_one_token(clip)
    clip.transformer.resblocks[0].mlp.append(nn.Dropout(0.5))
    packed, apart = prompts.packed(clip.eval(), TEXTS), prompts.packed(clip.train(), TEXTS)
    assert packed is not None
    assert apart is not None
    assert (packed.shared, len(packed.tokens)) == (2, 12)
    assert (apart.shared, len(apart.tokens)) == (0, 16)


class Doubled(nn.Linear):
    """Of a class that nobody knows here: it might look at other tokens too."""


def _watch(clip: Any, what: str, seen: list[int]) -> None:
    for tower in (clip.visual, clip):
        last, after = tower.transformer.resblocks[-1], clip.visual.ln_post if tower is clip.visual else clip.ln_final
        if what == "a part of a class of its own":
            last.mlp.c_fc.__class__ = Doubled
            continue
        if what == "a method of one module replaced":
            last.mlp.forward = last.mlp.forward
            continue
        watched = {"the block": last, "a part": last.ln_2, "the transformer": tower.transformer, "what follows": after}[
            what
        ]
        watched.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))


@pytest.mark.parametrize(
    "what",
    ["the block", "a part", "the transformer", "what follows", "a part of a class of its own",
     "a method of one module replaced"],
)  # fmt: skip
def test_who_looks_on_sees_all_tokens(what: str) -> None:
    clip, images = model({}, {}), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    expected = features(clip, images)
    spare_copies(clip)
    ready_for_one_token(clip)
    assert pictures.reads_first_token(clip)
    seen: list[int] = []
    _watch(clip, what, seen)
    assert not pictures.reads_first_token(clip)
    assert prompts.packed(clip, TEXTS) is None
    assert (features(clip, images) - expected).abs().max() < 1e-11
    assert seen == ([8, 5] if what in ("the block", "a part", "the transformer", "what follows") else [])


def test_a_replaced_way_to_encode_is_taken() -> None:
    clip, images = model({}, {}), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    spare_copies(clip)
    ready_for_one_token(clip)
    clip.encode_image = lambda pixels: pixels.flatten(1)[:, :16]
    clip.encode_text = lambda tokens: tokens.double().repeat(1, 2)
    assert torch.equal(features(clip, images), torch.cat([images.flatten(1)[:, :16], TEXTS.double().repeat(1, 2)]))


def test_an_attention_of_another_class_gets_all_tokens() -> None:
    class Twice(nn.MultiheadAttention):
        def forward(self, query: Tensor, *_: Any, attn_mask: Tensor | None = None, **__: Any) -> Any:
            return 2 * super().forward(query, query, query, need_weights=False, attn_mask=attn_mask)[0], None

    clip, images = model({}, {}), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    lasts = (clip.visual.transformer.resblocks[-1], clip.transformer.resblocks[-1])
    for last in lasts:
        last.attn.__class__ = Twice
    expected = features(clip, images)
    for last in lasts:
        last.attn.__class__ = nn.MultiheadAttention
    spare_copies(clip)
    ready_for_one_token(clip)
    for last in lasts:
        last.attn.__class__ = Twice
    assert (features(clip, images) - expected).abs().max() < 1e-11


def test_a_hook_that_copies_the_attentions_inputs_changes_nothing() -> None:
    clip, images = model({}, {}), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    expected = features(clip, images)
    spare_copies(clip)
    ready_for_one_token(clip)
    for tower in (clip.visual, clip):
        for block in tower.transformer.resblocks:
            block.attn.register_forward_pre_hook(lambda _, inputs: tuple(each.clone() for each in inputs))
    assert (features(clip, images) - expected).abs().max() < 1e-11


@pytest.mark.parametrize(
    ("texts", "shared", "grid"),
    [
        ([[47, 3, 4, END, 0, 0, 0, 0], [48, 5, 4, 9, END, 0, 0, 0], [48, 6, 5, 7, END, 0, 0, 0]], 0, True),
        ([[48, 3, END, 0, 0, 0, 0, 0]], 0, True),
        ([[48, 3, END, 0, 0, 0, 0, 0], [48, 3, END, 0, 0, 0, 0, 0], [48, 3, END, 5, 0, 0, 0, 0]], 2, False),
        ([[48, 3, END, 0, 0, 0, 0, 0], [48, 3, 4, 4, 4, 4, 4, END]], 2, False),  # as long as the context
        ([[END, 0, 0, 0, 0, 0, 0, 0], [END, 0, 0, 0, 0, 0, 0, 0]], 0, True),
    ],
)  # fmt: skip
def test_packed_texts_of_all_shapes(texts: list[list[int]], shared: int, grid: bool) -> None:
    clip, tokens = model({}, {}), torch.tensor(texts)

    def computed(encode: Any) -> tuple[Tensor, list[Tensor]]:
        clip.zero_grad()
        found = encode()
        (found * torch.arange(found.numel()).view_as(found)).sum().backward()
        return found.detach(), [each.grad for each in clip.parameters() if each.grad is not None]

    expected, wanted = computed(lambda: clip.encode_text(tokens))
    wanted = [each.clone() for each in wanted]
    spare_copies(clip)
    ready_for_one_token(clip)
    packed = prompts.packed(clip, tokens)
    assert packed is not None
    assert (packed.shared, packed.grid) == (shared, grid)
    found, gradients = computed(lambda: prompts.encode_packed(clip, packed))
    assert (found - expected).abs().max() < 1e-11
    assert all((a - b).abs().max() < 1e-9 * (1 + b.abs().max()) for a, b in zip(gradients, wanted, strict=True))


def test_a_mask_of_another_kind_is_kept() -> None:
    clip, images = model({}, {}), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    clip.attn_mask += torch.full_like(clip.attn_mask, float("-inf")).tril(
        diagonal=-3
    )  # no token sees those long before
    expected = features(clip, images)
    spare_copies(clip)
    ready_for_one_token(clip)
    assert prompts.packed(clip, TEXTS) is None
    assert (features(clip, images) - expected).abs().max() < 1e-11


def test_gradients_of_many_texts_are_the_same_each_time_with_several_threads() -> None:
    clip = model({}, {}).float()
    spare_copies(clip)
    ready_for_one_token(clip)
    tokens = torch.cat([torch.full((4000, 1), 48), torch.randint(1, 47, (4000, 6)), torch.full((4000, 1), END)], dim=1)
    packed, threads = prompts.packed(clip, tokens), torch.get_num_threads()
    assert packed is not None
    torch.set_num_threads(2)
    try:
        each = []
        for _ in range(3):
            clip.zero_grad()
            prompts.encode_packed(clip, packed).square().sum().backward()
            each.append(torch.cat([one.grad.flatten() for one in clip.parameters() if one.grad is not None]))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(each[0], each[1]) and torch.equal(each[0], each[2])


@pytest.mark.parametrize("vision", [{"pool_type": "avg"}, {"attentional_pool": True, "attn_pooler_queries": 4}])
def test_a_tower_that_reads_more_than_one_token_computes_all(vision: dict[str, Any]) -> None:
    clip, images = model({}, vision), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    expected = features(clip, images)
    spare_copies(clip)
    ready_for_one_token(clip)
    assert not pictures.reads_first_token(clip)
    assert (features(clip, images) - expected).abs().max() < 1e-11
    assert prompts.packed(clip, TEXTS) is not None


@pytest.mark.parametrize("text", [{"pool_type": "last"}, {"no_causal_mask": True}, {"embed_cls": True}])
def test_texts_of_other_towers_are_not_packed(text: dict[str, Any]) -> None:
    clip, images = model(text, {}, custom=True), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    expected = features(clip, images)
    spare_copies(clip)
    ready_for_one_token(clip)
    assert prompts.packed(clip, TEXTS) is None
    assert (features(clip, images) - expected).abs().max() < 1e-11
