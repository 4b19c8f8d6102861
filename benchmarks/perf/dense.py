"""Measures straightforward forms of a step relative to NuSA-CL's: a dense product for the update, attention with copies."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.perf.setting import LOOP, Setting
from benchmarks.perf.step import FULL
from benchmarks.perf.timing import ratio
from strategies import nusa
from strategies.clip.weight_matrices import blocks
from strategies.numerics.subspace import choose, decompose


STEPS = {10: 8, 100: 8, 397: 4}  # by the number of prompts; the first is not counted
RANK, ALPHA, DROPOUT = 128, 2.0, 0.25  # the published setting
AT_ONCE = 100  # number of prompts of 77 tokens in one pass: 397 would take 20 GB


class DenseUpdate(nn.Module):
    """NuSA-CL's update of a layer's output, dropout(x) (s U M V^T)^T, with the d x d product formed at every step.

    U and V are fixed; the core M (r, r) is trained and starts at zero; s = alpha / sqrt(r). Rank r = 128, alpha = 2 and
    dropout 0.25 are the paper's.

    Args:
        weight: the layer's W (d_out, d_in); U and V are its singular vectors of the r smallest singular values.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        u, vh = choose(decompose(weight), RANK, "tail")
        self.register_buffer("u", u)
        self.register_buffer("vh", vh)
        self.m = nn.Parameter(weight.new_zeros(RANK, RANK))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the update of the output, (..., d_out), for the layer's input x (..., d_in); W x is not included."""
        return F.linear(F.dropout(x, DROPOUT, self.training), ALPHA / RANK**0.5 * self.u @ self.m @ self.vh)


class DenseAttention(nn.Module):
    """Self-attention with a `DenseUpdate` added to the output of q, k, v and o, as a straightforward implementation does.

    Args:
        base: open_clip's attention module, whose weights are used.
    """

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.base = base
        weights = [*base.in_proj_weight.chunk(3), base.out_proj.weight]
        self.updates = nn.ModuleList(DenseUpdate(weight.detach()) for weight in weights)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool, attn_mask: Tensor | None = None
    ) -> Any:
        """Returns the attention's output, shaped like `query` (B, L, d), and None in place of attention weights.

        Only self-attention is supported: `key`, `value` and `need_weights` are not used.

        Args:
            attn_mask: as in `torch.nn.functional.scaled_dot_product_attention`; None for no mask.
        """
        base, (*inward, outward) = self.base, self.updates
        parts = zip(F.linear(query, base.in_proj_weight, base.in_proj_bias).chunk(3, dim=-1), inward, strict=True)
        q, k, v = ((part + update(query)).unflatten(-1, (base.num_heads, -1)).transpose(1, 2) for part, update in parts)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask).transpose(1, 2).flatten(2)
        return base.out_proj(mixed) + outward(mixed), None


def dense_step(setting: Setting) -> Callable[[], None]:
    """Returns a function that does a NuSA-CL step in a straightforward form, with which the project's form is compared.

    Updates are dense d x d products (`DenseAttention`), and all prompts have 77 tokens. The prompts pass through
    forward and backward 100 at a time to save memory, with the sum of the features in place of the loss.

    Args:
        setting: the model, with random weights, and a task of random images; the step trains a copy of the model.
    """
    model = deepcopy(setting.classifier).requires_grad_(False).train()
    for tower in ("image", "text"):
        for block in blocks(model.clip, tower):
            block.attn = DenseAttention(block.attn).to(setting.device)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=LOOP["lr"], weight_decay=LOOP["weight_decay"], fused=True)

    def step() -> None:
        optimizer.zero_grad()
        model.encode_images(setting.batch).sum().backward()
        for tokens in model.tokens(0)[0].split(AT_ONCE):
            model.clip.encode_text(tokens).sum().backward()
        optimizer.step()

    return step


def measure(model: str, batch_size: int, device: str) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part dense` measures: other forms of NuSA-CL's step / the project's.

    Ratios of times are dicts with `median`, `low` and `high` over the steps.

    Args:
        model: name of an open_clip model.
        batch_size: images in a training step.
        device: `cpu` or `cuda`.

    Returns:
        `dense_step_over_nusa_N_prompts`: a step with the update as a dense d x d product, and prompts of 77 tokens / a
        step, for N = 10, 100 and 397 classes with a prompt each.
        `nusa_step_over_copying_floor_N_prompts`: a step / forward and input-gradient with torch's own attention.
    """
    figures: dict[str, Any] = {}
    for classes, steps in STEPS.items():
        setting = Setting(model, batch_size, classes, device, steps)
        others = {"copying floor": setting.floor(copies=True), "dense": dense_step(setting)}
        seconds = setting.beside(nusa.Plugin(FULL), others)
        figures |= {
            f"dense_step_over_nusa_{classes}_prompts": ratio(seconds["dense"], seconds["step"]),
            f"nusa_step_over_copying_floor_{classes}_prompts": ratio(seconds["step"], seconds["copying floor"]),
        }
    return figures
