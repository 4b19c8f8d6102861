"""Attention without copies against torch's own and against the formula, forward and backward."""

import open_clip
import pytest
import torch
from torch import nn

from strategies.clip.attention import SelfAttention
from strategies.clip.blocks import spare_copies
from tests.conftest import TINY


@pytest.mark.parametrize("masked", [False, True])
def test_it_is_the_formula_forward_and_backward(masked: bool, device: torch.device) -> None:
    torch.manual_seed(0)
    attention = SelfAttention(12, 3, batch_first=True).double().to(device)
    nn.init.normal_(attention.in_proj_bias)
    x = torch.randn(2, 5, 12, dtype=torch.float64, device=device, requires_grad=True)
    mask = torch.full((5, 5), float("-inf") if masked else 0.0, dtype=torch.float64, device=device).triu(1)
    found = attention(x, x, x, attn_mask=mask)[0]
    q, k, v = (x @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, dim=-1)
    heads = []
    for head in range(3):
        own = slice(4 * head, 4 * head + 4)
        scores = q[..., own] @ k[..., own].transpose(1, 2) / 2 + mask  # (B, L, L), over the root of four
        heads.append(scores.softmax(dim=-1) @ v[..., own])
    expected = torch.cat(heads, dim=-1) @ attention.out_proj.weight.T + attention.out_proj.bias
    assert (found - expected).abs().max() < 1e-12
    weights, learned = torch.randn_like(found), [x, *attention.parameters()]
    one, other = (torch.autograd.grad((out * weights).sum(), learned) for out in (found, expected))
    assert all((a - b).abs().max() < 1e-11 for a, b in zip(one, other, strict=True))


@torch.no_grad()
def test_a_model_with_it_computes_the_same_with_the_same_parameters(device: torch.device) -> None:
    torch.manual_seed(0)
    clip = open_clip.CLIP(**TINY).double().eval().to(device)
    images, tokens = torch.randn(2, 3, 16, 16).double().to(device), torch.tensor([[1, 5, 49407, *[0] * 13]]).to(device)
    before = clip.encode_image(images), clip.encode_text(tokens)
    parameters = dict(clip.named_parameters())
    spare_copies(clip)
    assert sum(isinstance(module, SelfAttention) for module in clip.modules()) == 2 + 1  # blocks of image and text
    for one, other in zip(before, (clip.encode_image(images), clip.encode_text(tokens)), strict=True):
        assert (one - other).abs().max() < 1e-12
    assert all(parameters[name] is parameter for name, parameter in clip.named_parameters())


@torch.no_grad()
def test_a_mask_for_each_text_and_head_is_read_as_torch_reads_it(device: torch.device) -> None:
    torch.manual_seed(0)
    tower = open_clip.transformer.TextTransformer(context_length=7, width=12, heads=3, layers=2, embed_cls=True)
    tower.double().to(device)
    tokens = torch.tensor([[1, 5, 49407, 0, 0, 0, 0], [1, 5, 7, 9, 49407, 0, 0]], device=device)  # padded differently
    before = tower(tokens)
    spare_copies(tower)
    assert any(isinstance(module, SelfAttention) for module in tower.modules())
    assert (tower(tokens) - before).abs().max() < 1e-12


def test_attention_that_is_no_self_attention_of_a_plain_block_stays() -> None:
    pooler = open_clip.transformer.AttentionalPooler(16, 16, n_head=2, n_queries=3)
    crossed = open_clip.transformer.ResidualAttentionBlock(16, 2, is_cross_attention=True)
    spare_copies(nn.ModuleList([pooler, crossed]))
    assert type(pooler.attn) is type(crossed.attn) is nn.MultiheadAttention
