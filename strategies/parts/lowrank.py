"""Low-rank updates of attention and MLP matrices while a task is learned, and their merging afterwards.

open_clip's attention keeps q, k and v in one matrix and reads the output projection without calling it, so updates that
see the layer's input (dropout acts on it) cannot be wrapped around its modules: while a task is learned the attention is
replaced by `AdaptedAttention`, which computes the same function plus the updates. Nothing of the weight's size is formed.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from strategies.parts.settings import LowRankSettings
from strategies.parts.sites import Site, blocks


class LowRankUpdate(nn.Module):
    """dW = scale * up @ core @ down, or scale * up @ down without a core.

    Args:
        down: (r, d_in).
        up: (d_out, r).
        core: (r, r) or None.
        scale: factor on the product.
        dropout: probability, on the layer's input, while training.
        trained: the factors that are parameters; the others are frozen buffers.
    """

    down: Tensor
    up: Tensor
    core: Tensor | None

    def __init__(
        self, down: Tensor, up: Tensor, core: Tensor | None, *, scale: float, dropout: float, trained: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.scale, self.dropout = scale, dropout
        for name, factor in (("down", down), ("up", up), ("core", core)):
            if name in trained and factor is not None:
                self.register_parameter(name, nn.Parameter(factor))
            else:
                self.register_buffer(name, factor)

    def forward(self, x: Tensor) -> Tensor:
        """Input x (..., d_in) to x dW^T (..., d_out), in thin products."""
        x = F.linear(F.dropout(x, self.dropout, self.training), self.down)  # (..., r)
        if self.core is not None:
            x = F.linear(x, self.core)  # (..., r)
        return F.linear(x, self.up) * self.scale

    def delta(self) -> Tensor:
        """dW (d_out, d_in)."""
        left = self.up if self.core is None else self.up @ self.core
        return self.scale * (left @ self.down)


class AdaptedAttention(nn.Module):
    """Self-attention of `base` with updates added to some of its q, k, v and o projections.

    Args:
        base: open_clip's attention, batch first; its weights are used, not copied.
        updates: by matrix name.
    """

    def __init__(self, base: nn.MultiheadAttention, updates: Mapping[str, LowRankUpdate]) -> None:
        super().__init__()
        self.base, self.updates = base, nn.ModuleDict(updates)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Called as open_clip calls its own: query, key and value are one tensor (B, L, d). Returns ((B, L, d), None)."""
        heads = self.base.num_heads
        projected = F.linear(query, self.base.in_proj_weight, self.base.in_proj_bias).chunk(3, dim=-1)
        q, k, v = (
            (part + self.updates[name](query) if name in self.updates else part)
            .unflatten(-1, (heads, -1))
            .transpose(1, 2)
            for name, part in zip("qkv", projected, strict=True)
        )  # each (B, heads, L, d / heads)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask).transpose(1, 2).flatten(2)  # (B, L, d)
        out = F.linear(mixed, self.base.out_proj.weight, self.base.out_proj.bias)
        return (out + self.updates["o"](mixed) if "o" in self.updates else out), None


class AdaptedLinear(nn.Module):
    """A linear layer with an update added."""

    def __init__(self, base: nn.Linear, update: LowRankUpdate) -> None:
        super().__init__()
        self.base, self.update = base, update

    @property
    def weight(self) -> Tensor:
        """open_clip asks the MLP's first layer for its weight to learn the dtype."""
        return self.base.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.update(x)


def attach(updates: Mapping[Site, LowRankUpdate]) -> None:
    """Puts the updates into the model: from now on the model computes with them."""
    grouped: dict[Any, dict[str, LowRankUpdate]] = {}
    for site, update in updates.items():
        grouped.setdefault(site.module, {})[site.matrix] = update
    for block, by_matrix in grouped.items():
        for matrix, layer in (("fc", "c_fc"), ("proj", "c_proj")):
            if matrix in by_matrix:
                setattr(block.mlp, layer, AdaptedLinear(getattr(block.mlp, layer), by_matrix.pop(matrix)))
        if by_matrix:
            block.attn = AdaptedAttention(block.attn, by_matrix)


def detach(clip: nn.Module) -> None:
    """Takes all updates out of the model, unmerged; does nothing where there are none."""
    for tower in ("image", "text"):
        for block in blocks(clip, tower):
            if isinstance(block.attn, AdaptedAttention):
                block.attn = block.attn.base
            for layer in ("c_fc", "c_proj"):
                if isinstance(getattr(block.mlp, layer), AdaptedLinear):
                    setattr(block.mlp, layer, getattr(block.mlp, layer).base)


@torch.no_grad()
def merge(clip: nn.Module, updates: Mapping[Site, LowRankUpdate]) -> None:
    """W <- W + dW for every update, and the model is plain open_clip again."""
    detach(clip)
    for site, update in updates.items():
        site.weight().add_(update.delta())


def scale(alpha: float, rank: int) -> float:
    """alpha / sqrt(rank): the rank-stabilised convention of the released code."""
    return alpha / math.sqrt(rank)


def kaiming(weight: Tensor, rank: int) -> Tensor:
    """LoRA's start of `down` for a weight (d_out, d_in): (rank, d_in), Kaiming-uniform with a = sqrt(5)."""
    # Drawn on the CPU: the same start on every device.
    return nn.init.kaiming_uniform_(torch.empty(rank, weight.shape[1]), a=math.sqrt(5)).to(weight.device)


def from_zero(weight: Tensor, down: Tensor, settings: LowRankSettings, trained: tuple[str, ...]) -> LowRankUpdate:
    """The update of a weight (d_out, d_in) with this `down` (r, d_in) and an `up` of zeros, so that it starts at none."""
    return LowRankUpdate(
        down=down,
        up=torch.zeros(weight.shape[0], len(down), device=weight.device),
        core=None,
        scale=scale(settings.alpha, settings.rank),
        dropout=settings.dropout,
        trained=trained,
    )
