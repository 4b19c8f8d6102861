"""A frozen linear layer plus low-rank updates of some of its rows, forward and backward in thin products.

    y = x W^T + b,   and on the columns of each update   y += scale * dropout(x) down^T core^T up^T

Written out because autograd, given this formula, keeps a float for every figure of every dropped input, passes several times
over tensors of the output's size, and draws torch's Bernoulli numbers one by one. Here W needs no gradient and gets none,
nothing of its size is formed, and the updates of q, k and v, which share one input, go through each product together. Without
dropout, and with more tokens than inputs, W + dW is the cheaper form: formed for the moment, forward and backward, not kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from strategies.parts.parallel import WHOLE, Share


class Term(NamedTuple):
    """An update of one block of W's rows: scale * up @ core @ down.

    Attributes:
        down: (r, d_in).
        core: (r, r) or None.
        up: (rows, r).
        dropout: 0 outside training.
        share: of the inputs' rows, for whose whole number dropout is drawn: several processes then drop what one would.
    """

    down: Tensor
    core: Tensor | None
    up: Tensor
    scale: float
    dropout: float
    share: Share = WHOLE


@dataclass(frozen=True)
class _Part:
    """Terms of equal shape, computed together; their factors are stacked (g, ...).

    Attributes:
        blocks: the g blocks of W's rows, counted in blocks of equal size.
        scale, dropout, share: as in `Term`.
    """

    blocks: slice
    scale: float
    dropout: float
    share: Share

    @property
    def gain(self) -> float:
        """`scale`, and what dropout's kept inputs are multiplied by."""
        return self.scale / (1 - _dropped(self.dropout))

    def of_rows(self, weight: Tensor, rows: int) -> Tensor:
        """View (g, rows, d_in) of a weight (d_out, d_in)."""
        return weight.unflatten(0, (-1, rows))[self.blocks]

    def of_columns(self, y: Tensor, rows: int) -> Tensor:
        """View (g, n, rows) of outputs (n, d_out)."""
        return y.unflatten(1, (-1, rows))[:, self.blocks].transpose(0, 1)


def _bits(dropout: float) -> int:
    """Random bits for each figure: as many as say the probability exactly, at most 16."""
    return 8 if (256 * dropout).is_integer() else 16


def _dropped(dropout: float) -> float:
    """The probability as it is drawn: to a 65536th, and never all."""
    whole = 2 ** _bits(dropout)
    return min(round(dropout * whole), whole - 1) / whole


def keep(x: Tensor, dropout: float, share: Share = WHOLE, masks: int = 1) -> Tensor:
    """Bool (masks, n, d) for x (n, d), each True with probability 1 - dropout.

    Drawn 64 bits at once: many times faster than one by one.
    """
    bits, (n, d) = _bits(dropout), x.shape
    count = masks * share.size * n * d
    words = torch.empty(-(-count * bits // 64), dtype=torch.int64, device=x.device).random_(-(2**63), None)
    whole = words.view(torch.uint8 if bits == 8 else torch.int16)[:count].view(masks, share.size * n, d)
    drawn = whole[:, share.rank * n : (share.rank + 1) * n]  # (masks, n, d)
    least = round(_dropped(dropout) * 2**bits) - (0 if bits == 8 else 2**15)  # int16 begins at -2^15
    return drawn >= least


def left(up: Tensor, core: Tensor | None) -> Tensor:
    """(..., rows, r): what stands before `down` in dW."""
    return up if core is None else up @ core


def _merged(weight: Tensor, parts: Sequence[_Part], factors: Sequence[Any]) -> Tensor:
    """W + dW (d_out, d_in)."""
    merged = weight.clone()
    for part, down, core, up in _each(parts, factors):
        part.of_rows(merged, up.shape[1]).baddbmm_(left(up, core), down, alpha=part.scale)
    return merged


def _each(parts: Sequence[_Part], factors: Sequence[Any]) -> Any:
    """Each part with its down (g, r, d_in), core (g, r, r) or None, and up (g, rows, r)."""
    return zip(parts, factors[::3], factors[1::3], factors[2::3], strict=True)


def _onto(x: Tensor, down: Tensor) -> Tensor:
    """One input (n, d_in), or g of them (g, n, d_in), onto g bases (g, r, d_in): (g, n, r)."""
    if x.ndim == 3:
        return x @ down.mT
    return (x @ down.flatten(0, 1).T).unflatten(1, (len(down), -1)).transpose(0, 1)


class _Adapted(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, parts: Sequence[_Part], *factors: Tensor | None
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])  # (n, d_in)
        ctx.parts = parts
        ctx.merge = bool(parts) and len(flat) > flat.shape[1] and not any(part.dropout for part in parts)
        kept: list[Tensor | None] = []
        if ctx.merge:
            out = F.linear(flat, _merged(weight, parts, factors), bias)  # (n, d_out)
            kept.append(flat)
        else:
            out = F.linear(flat, weight, bias)  # (n, d_out)
            for place, (part, down, core, up) in enumerate(_each(parts, factors)):
                need_down, need_core, need_up = ctx.needs_input_grad[4 + 3 * place : 7 + 3 * place]
                mask = keep(flat, part.dropout, part.share, len(down)) if part.dropout else None  # (g, n, d_in)
                seen = flat if mask is None else mask.to(flat.dtype).mul_(flat)  # (n, d_in) or (g, n, d_in)
                narrow = _onto(seen, down)  # (g, n, r)
                middle = narrow if core is None else narrow @ core.mT  # (g, n, r)
                part.of_columns(out, up.shape[1]).baddbmm_(middle, up.mT, alpha=part.gain)
                kept += [mask, seen if need_down else None, narrow if need_core else None, middle if need_up else None]
        ctx.save_for_backward(weight, *factors, *kept)
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        grad = grads[0].reshape(-1, grads[0].shape[-1])  # (n, d_out)
        weight, *saved = ctx.saved_tensors
        factors, kept = saved[: 3 * len(ctx.parts)], saved[3 * len(ctx.parts) :]
        need_x = ctx.needs_input_grad[0]
        back = grad @ (_merged(weight, ctx.parts, factors) if ctx.merge else weight) if need_x else None  # (n, d_in)
        found: list[Tensor | None] = []
        for place, (part, down, core, up) in enumerate(_each(ctx.parts, factors)):
            need_down, need_core, need_up = ctx.needs_input_grad[4 + 3 * place : 7 + 3 * place]
            if ctx.merge:
                mask, seen = None, kept[0]
                narrow = _onto(seen, down)  # (g, n, r)
                middle = narrow if core is None or not need_up else narrow @ core.mT  # (g, n, r)
            else:
                mask, seen, narrow, middle = kept[4 * place : 4 * place + 4]
            own = part.of_columns(grad, up.shape[1])  # (g, n, rows)
            at_middle = (own @ up).mul_(part.gain)  # (g, n, r)
            if back is not None and not ctx.merge:
                right = down if core is None else core @ down  # (g, r, d_in): cheaper than core on n rows
                if mask is None:
                    back.addmm_(at_middle.transpose(0, 1).flatten(1), right.flatten(0, 1))
                else:
                    for wide, kept_ones in zip(at_middle @ right, mask.to(back.dtype), strict=True):
                        back.addcmul_(wide, kept_ones)
            at_narrow = at_middle if core is None or not need_down else at_middle @ core  # (g, n, r)
            found += [
                at_narrow.mT @ seen if need_down else None,
                at_middle.mT @ narrow if need_core else None,
                (own.mT @ middle).mul_(part.gain) if need_up else None,
            ]
        return back if back is None else back.view(*grads[0].shape[:-1], -1), None, None, None, *found


def _together(terms: Mapping[int, Sequence[Term]]) -> tuple[list[_Part], list[Tensor | None]]:
    """Parts of terms of equal shape, and the parts' down, core and up in a row."""
    alike: dict[Any, list[tuple[int, Term]]] = {}
    for block, own in terms.items():
        for place, term in enumerate(own):
            like = place, term.down.shape, term.core is None, term.scale, term.dropout
            alike.setdefault(like, []).append((block, term))
    parts: list[_Part] = []
    factors: list[Tensor | None] = []
    for several in alike.values():
        blocks, one = [block for block, _ in several], several[0][1]
        step = blocks[1] - blocks[0] if len(blocks) > 1 else 1
        parts.append(_Part(slice(blocks[0], blocks[-1] + 1, step), one.scale, one.dropout, one.share))
        for name in ("down", "core", "up"):
            each: list[Any] = [getattr(term, name) for _, term in several]
            factors.append(None if each[0] is None else torch.stack(each) if len(each) > 1 else each[0][None])
    return parts, factors


def adapted_linear(x: Tensor, weight: Tensor, bias: Tensor | None, terms: Mapping[int, Sequence[Term]]) -> Tensor:
    """Inputs (..., d_in) to outputs (..., d_out) of a frozen weight (d_out, d_in) and its updates.

    Args:
        terms: by block of the weight's rows, all blocks of one size: q, k and v are 0, 1 and 2 of their common weight.
    """
    assert not (weight.requires_grad and torch.is_grad_enabled()), "the weights under a low-rank update are frozen"
    parts, factors = _together(terms)
    tensors: list[Any] = [x, weight, bias, *factors]
    device = x.device.type
    if torch.is_autocast_enabled(device):
        low = torch.get_autocast_dtype(device)
        tensors = [tensor if tensor is None else tensor.to(low) for tensor in tensors]
    x, weight, bias, *factors = tensors
    return _Adapted.apply(x, weight, bias, parts, *factors)  # type: ignore[no-any-return,no-untyped-call]
