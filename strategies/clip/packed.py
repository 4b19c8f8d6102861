"""Texts of different length side by side, each token once: what a causal text tower has to compute, and no more.

In CLIP's text tower (Radford et al. 2021) a token attends only to the tokens before it, and a text's feature is read at
its end-of-text token. So what follows that token need not be computed, and tokens with which all texts begin ("a photo
of a") have the same values in all of them: they are computed once.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


NEARLY_FULL = 0.9  # where texts fill so much of the rectangle of their longest, copies cost more than computing it all


@dataclass(frozen=True)
class FirstToken:
    """Given to an image tower's blocks in place of a mask: only the first token of each image is read in the end."""

    def to(self, dtype: torch.dtype) -> "FirstToken":
        """Returns itself, whatever the dtype: open_clip's blocks convert the mask that they are given."""
        return self


@dataclass(frozen=True, eq=False)
class Packed:
    """The tokens of C texts that have to be computed, as one row of N tokens, and where each text has them.

    The first P tokens are the common beginning of all texts (P may be 0); then come the other tokens of each text up to
    its end, text by text. L is the number of tokens of the longest text.

    Attributes:
        tokens: (N,) int64, the tokens.
        positions: (N,) int64, the position of each token in its text.
        rows: (C, L) int64, the index in 0..N-1 of each token of each text; behind a text's end, that of its last token.
        sources: (N,) int64, where each token stands in `rows.flatten()`; of a shared one, where its first text has it.
        ends: (C,) int64, the index in 0..N-1 of each text's last token, at which its feature is read.
        unseen: (C, 1, L), what to add to attention scores of a text's last token: 0, and -inf behind the text's end. None
            where all texts are equally long.
        shared: P.
        grid: whether the row is all texts one after the other, each with L tokens, so that no value has to be copied. Then
            N = C L, P = 0, and what stands behind a text's end is computed too and has rows of its own.
    """

    tokens: Tensor
    positions: Tensor
    rows: Tensor
    sources: Tensor
    ends: Tensor
    unseen: Tensor | None
    shared: int
    grid: bool

    def to(self, dtype: torch.dtype) -> "Packed":
        """Returns itself, whatever the dtype: open_clip's blocks convert the mask, in whose place they get it."""
        return self


def pack(tokens: Tensor, ends: Tensor, share: bool) -> Packed:
    """Returns the `Packed` form of C texts, on the tokens' device.

    Args:
        tokens: (C, L) int64, the texts.
        ends: (C,) int64, the position of the token of each text at which its feature is read.
        share: whether a common beginning of all texts is computed once; False where something random acts on each text.
    """
    device, tokens, ends = tokens.device, tokens.cpu(), ends.cpu()
    length = int(ends.max()) + 1
    tokens, places = tokens[:, :length], torch.arange(length)
    shared = 0
    if share and len(tokens) > 1:
        alike = (tokens == tokens[0]).all(dim=0) & (places < ends.min())  # (L,); every text keeps a token of its own
        shared = int(alike.long().cumprod(dim=0).sum())
    own = (places >= shared) & (places <= ends[:, None])  # (C, L)
    own[0, :shared] = True  # the first text is where shared tokens are taken from
    if grid := bool(own.float().mean() > NEARLY_FULL):
        own[:], shared = True, 0
    sources = own.flatten().nonzero()[:, 0]  # (N,), the shared ones first, as the first text comes first
    rows = (own.flatten().cumsum(dim=0) - 1).view(own.shape)  # (C, L); behind an end the last one counted
    rows[:, :shared] = places[:shared]
    behind = places > ends[:, None]  # (C, L)
    unseen = torch.zeros(own.shape).masked_fill_(behind, float("-inf"))[:, None] if behind.any() else None
    return Packed(
        tokens=tokens.flatten()[sources].to(device),
        positions=(sources % length).to(device),
        rows=rows.to(device),
        sources=sources.to(device),
        ends=rows.gather(1, ends[:, None])[:, 0].to(device),
        unseen=None if unseen is None else unseen.to(device),
        shared=shared,
        grid=grid,
    )


class _ByText(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: Packed) -> Tensor:
        ctx.packed = packed
        return x.index_select(0, packed.rows.flatten()).view(*packed.rows.shape, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        # A sum over the texts only where they share tokens: adding up row by row, as torch would, takes many times longer.
        packed, grad = ctx.packed, grads[0]
        own = grad.flatten(0, 1).index_select(0, packed.sources)  # (N, w)
        if packed.shared:
            own[: packed.shared] = grad[:, : packed.shared].sum(dim=0)
        return own, None


class _InRow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: Packed) -> Tensor:
        ctx.packed = packed
        return x.flatten(0, 1).index_select(0, packed.sources)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        packed, grad = ctx.packed, grads[0]
        texts, length = packed.rows.shape
        back = grad.new_zeros(texts * length, grad.shape[-1])
        back[packed.sources] = grad
        return back.view(texts, length, -1), None


def by_text(x: Tensor, packed: Packed) -> Tensor:
    """Returns the values (C, L, w) of each text's tokens, from those of the row, x (N, w).

    Behind the end of a text stand those of its last token. Their gradients are taken as 0, which they are wherever no
    token that counts depends on one behind its text's end.
    """
    if packed.grid:
        return x.view(*packed.rows.shape, -1)
    return _ByText.apply(x, packed)  # type: ignore[no-any-return,no-untyped-call]


def in_row(x: Tensor, packed: Packed) -> Tensor:
    """Returns the values (N, w) of the row's tokens, from those of each text's tokens, x (C, L, w)."""
    if packed.grid:
        return x.flatten(0, 1)
    return _InRow.apply(x, packed)  # type: ignore[no-any-return,no-untyped-call]
