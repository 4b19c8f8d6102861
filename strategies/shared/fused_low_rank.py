"""A frozen linear layer with low-rank updates of some of its rows; forward and backward use thin products.

    y = x W^T + b,   and on the columns of each update   y += scale * dropout(x) down^T core^T up^T

The gradients are written by hand. Given this formula, autograd would keep a float for every value of every dropped
input, pass several times over tensors of the output's size, and draw torch's Bernoulli numbers one by one. Here a bit for
each value is kept, the mask, and where `down` learns what the input can be formed from again (its recipe, see
`strategies/clip/recipe.py`), or else the input. (Keys and values of a tower's last block do not come here: `attend_once`
never forms them.)

W gets no gradient, and in general no matrix of its size is formed. The core is multiplied into `up` in the forward pass
and into `down` in the backward pass, since these are shorter than the tokens of all but the smallest tasks.

Without dropout, and with more tokens than inputs, it is cheaper to form W + dW, for each pass anew, so that q, k and v
go through one product. With dropout this is impossible, since each update drops other values of the input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from strategies.clip.recipe import Recipe, recipe_of
from strategies.numerics.data_parallel import WHOLE, Share


@dataclass(frozen=True)
class Part:
    """Where and how one low-rank term is added to a weight W (d_out, d_in): W[rows] += scale * up @ core @ down.

    The factors up, core and down are given beside it; without a core the product is up @ down. In a layer this adds
    scale / (1 - dropout) * up @ core @ down @ (the input, with some values dropped) to the output's columns `rows`.

    Attributes:
        rows: the rows of W that are updated, hence the columns of the layer's output.
        scale: the factor on the product.
        dropout: the probability that an input value is dropped; 0 outside training.
        share: which part of the global batch the layer's input is. Dropout is drawn for the global batch, so that
            several processes drop the same values as one process would.
    """

    rows: slice
    scale: float
    dropout: float
    share: Share = WHOLE

    @property
    def gain(self) -> float:
        """`scale` / (1 - dropout probability): the factor on the product of the factors for an input after dropout.

        The division keeps the mean of the output, as in torch's dropout.
        """
        return self.scale / (1 - _dropped(self.dropout))


Factors = tuple[Tensor, Tensor | None, Tensor]  # down (r, d_in), core (r, r) or None, up (rows, r)


def _bits(dropout: float) -> int:
    """Random bits per value: the least number that represents the probability exactly and divides 8, or else 16."""
    return next((bits for bits in (1, 2, 4, 8) if (2**bits * dropout).is_integer()), 16)


def _dropped(dropout: float) -> float:
    """The probability of dropping as it is drawn: rounded to multiples of 1 / 65536, and below 1."""
    whole = 2 ** _bits(dropout)
    return min(round(dropout * whole), whole - 1) / whole


_made: dict[tuple[int, int, torch.device], tuple[Tensor, Tensor]] = {}  # what `_fields` returned


def _fields(bits: int, least: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Each field of `bits` bits of a byte, all ones, and the value `least` in its place: both (fields, 1) uint8."""
    key = bits, least, device  # made once: a small model's step has dozens of masks
    if key not in _made:
        place = 2 ** torch.arange(0, 8, bits, dtype=torch.uint8, device=device)[:, None]  # (fields, 1)
        _made[key] = (2**bits - 1) * place, least * place
    return _made[key]


def keep(x: Tensor, dropout: float, share: Share = WHOLE) -> Tensor:
    """Returns a random dropout mask (n, d) int8 for inputs of a layer: 1 with probability 1 - dropout, otherwise 0.

    It draws 64 random bits at once, which is many times faster than drawing value by value. The type is int8 because
    torch's CPU loops make it, and convert it to float, several times faster than bool.

    Args:
        x: (n, d), the inputs; only shape and device are used.
        dropout: the probability of 0, rounded to a multiple of 1 / 65536.
        share: which of the equal parts of the global batch x is. The mask is drawn for the whole global batch, and this
            part returned.
    """
    bits, (n, d) = _bits(dropout), x.shape
    count = share.size * n * d
    words = torch.empty(-(-count * bits // 64), dtype=torch.int64, device=x.device).random_(-(2**63), None)
    least = round(_dropped(dropout) * 2**bits)
    if bits == 16:
        drawn = words.view(torch.int16).ge(least - 2**15)  # int16 begins at -2^15
    else:
        field, threshold = _fields(bits, least, x.device)
        drawn = (words.view(torch.uint8) & field).ge_(threshold)  # (fields of a byte, bytes)
    kept = drawn.view(-1)[:count].view(share.size, n, d)[share.rank]
    return kept.view(torch.int8)


LOWEST_BITS = 0x0101010101010101  # of each of an int64's eight bytes
# At most so many values, a mask stays as it is: its bytes matter less than the calls in a small model's step.
SMALL = 2**20


def pack(mask: Tensor) -> Tensor:
    """Returns a mask's zeros and ones as the bits of int64s (N,), an eighth of its bytes; N is at least their number / 64.

    Eight zeros and ones are shifted and added as one int64, which costs far less than to draw them. A mask of at most
    `SMALL` values is returned itself.

    Args:
        mask: (...) int8, of any shape.
    """
    if mask.numel() <= SMALL:
        return mask
    if odd := mask.numel() % 64:
        mask = F.pad(mask.flatten(), (0, 64 - odd))
    return (mask.view(-1).view(torch.int64).view(8, -1) << _shifts(mask.device)).sum(dim=0)


def unpack(bits: Tensor, shape: torch.Size) -> Tensor:
    """Returns the mask (int8) of a shape from what `pack` returned."""
    if bits.dtype == torch.int8:
        return bits.view(shape)
    bytewise = (bits >> _shifts(bits.device)).bitwise_and_(LOWEST_BITS).view(torch.int8)  # (8, 8 N)
    return bytewise.view(-1)[: shape.numel()].view(shape)


_made_shifts: dict[torch.device, Tensor] = {}  # what `_shifts` returned


def _shifts(device: torch.device) -> Tensor:
    if device not in _made_shifts:
        _made_shifts[device] = torch.arange(8, device=device)[:, None]  # (8, 1)
    return _made_shifts[device]


class _Masked(torch.autograd.Function):
    """x times a mask of zeros and ones (int8), of which a bit for each value is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(pack(mask))
        return mask.to(x.dtype).mul_(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (bits,) = ctx.saved_tensors
        return unpack(bits, grads[0].shape).to(grads[0].dtype).mul_(grads[0]), None


def after_dropout(x: Tensor, part: Part) -> Tensor:
    """Returns a layer's input (..., d) with the values dropped that a term drops, drawn anew; `x` itself without dropout.

    The values that stay are not scaled; `Part.gain` makes up for them.

    Args:
        x: (..., d), the input.
        part: the term; its probability and its share of the batch count.
    """
    if not part.dropout:
        return x
    mask = keep(x.flatten(0, -2), part.dropout, part.share).view_as(x)
    return _Masked.apply(x, mask)  # type: ignore[no-any-return,no-untyped-call]


def left(up: Tensor, core: Tensor | None) -> Tensor:
    """Returns up @ core (rows, r), or `up` where there is no core: the factor to the left of `down` in an update.

    Args:
        up: (rows, r).
        core: (r, r), or None.
    """
    return up if core is None else up @ core


def _merged(weight: Tensor, parts: Sequence[Part], factors: Sequence[Any]) -> Tensor:
    """W + dW (d_out, d_in)."""
    merged = weight.clone()
    for part, down, core, up in _each(parts, factors):
        merged[part.rows].addmm_(left(up, core), down, alpha=part.scale)
    return merged


def _each(parts: Sequence[Part], factors: Sequence[Any]) -> Any:
    """Each part with its down (r, d_in), core (r, r) or None, and up (rows, r)."""
    return zip(parts, factors[::3], factors[1::3], factors[2::3], strict=True)


def _add_kept(total: Tensor, values: Tensor, mask: Tensor) -> None:
    """Adds to a total (n, d), in place, those values (n, d) whose mask (n, d) int8 is 1."""
    rows = max(1, SMALL // total.shape[1])  # at a time, so that a mask of floats as large as the total is never made
    for some, added, ones in zip(total.split(rows), values.split(rows), mask.split(rows), strict=True):
        some.addcmul_(added, ones.to(total.dtype))


class _Adapted(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, recipe: Recipe, weight: Tensor, bias: Tensor | None, parts: Sequence[Part],
        *factors: Tensor | None,
    ) -> Tensor:  # fmt: skip
        flat = x.reshape(-1, x.shape[-1])  # (n, d_in)
        ctx.parts, ctx.form = parts, recipe.form
        ctx.merge = bool(parts) and len(flat) > flat.shape[1] and not any(part.dropout for part in parts)
        kept: list[Tensor | None] = []
        if ctx.merge:
            out = F.linear(flat, _merged(weight, parts, factors), bias)  # (n, d_out)
            kept.append(recipe.source)
        else:
            out = F.linear(flat, weight, bias)  # (n, d_out)
            # Once for all updates: each forms its own dropped input again.
            kept.append(recipe.source if any(ctx.needs_input_grad[5::3]) else None)
            for place, (part, down, core, up) in enumerate(_each(parts, factors)):
                _, need_core, need_up = ctx.needs_input_grad[5 + 3 * place : 8 + 3 * place]
                mask = keep(flat, part.dropout, part.share) if part.dropout else None  # (n, d_in)
                seen = flat if mask is None else mask.to(flat.dtype).mul_(flat)  # (n, d_in)
                narrow = seen @ down.T  # (n, r)
                out[:, part.rows].addmm_(narrow, left(up, core).T, alpha=part.gain)
                del seen  # as large as x, and packing needs memory
                kept += [None if mask is None else pack(mask), narrow if need_core or need_up else None]
        ctx.save_for_backward(weight, *factors, *kept)
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        grad = grads[0].reshape(-1, grads[0].shape[-1])  # (n, d_out)
        weight, *saved = ctx.saved_tensors
        factors, (source, *kept) = saved[: 3 * len(ctx.parts)], saved[3 * len(ctx.parts) :]
        need_x, shape = ctx.needs_input_grad[0], torch.Size((len(grad), weight.shape[1]))
        flat: Any = None if source is None else ctx.form(source).reshape(shape).to(grad.dtype)  # (n, d_in)
        back: Any = None  # (n, d_in)
        if need_x and ctx.merge:
            back = grad @ _merged(weight, ctx.parts, factors)
        found: list[Tensor | None] = []
        for place, (part, down, core, up) in enumerate(_each(ctx.parts, factors)):
            need_down, need_core, need_up = ctx.needs_input_grad[5 + 3 * place : 8 + 3 * place]
            bits, narrow = (None, flat @ down.T) if ctx.merge else kept[2 * place : 2 * place + 2]  # narrow (n, r)
            mask = None if bits is None else unpack(bits, shape)  # (n, d_in)
            own = grad[:, part.rows]  # (n, rows)
            at_middle = (own @ up).mul_(part.gain)  # (n, r)
            inner = at_middle.T @ (flat if mask is None else mask.to(grad.dtype).mul_(flat)) if need_down else None
            if place == len(ctx.parts) - 1:
                flat = None  # freed before tensors of its size come
            if need_x and not ctx.merge:
                back = grad @ weight if back is None else back
                right = down if core is None else core @ down  # (r, d_in)
                if mask is None:
                    back.addmm_(at_middle, right)
                else:
                    _add_kept(back, at_middle @ right, mask)
            outer = (own.T @ narrow).mul_(part.gain) if need_up else None  # (rows, r)
            found += [
                inner if inner is None or core is None else core.T @ inner,
                at_middle.T @ narrow if need_core else None,
                outer if outer is None or core is None else outer @ core.T,
            ]
        if need_x:
            back = (grad @ weight if back is None else back).view(*grads[0].shape[:-1], -1)
        return back, None, None, None, None, *found


def adapted_linear(x: Tensor, weight: Tensor, bias: Tensor | None, terms: Sequence[tuple[Part, Factors]]) -> Tensor:
    """Returns the outputs (..., d_out) of a linear layer with low-rank updates: (W + dW) x + bias.

    Each term (part, (down, core, up)) adds part.scale * up @ core @ down to the rows part.rows of dW, or part.scale *
    up @ down without a core. Each has its own dropout of x, with probability part.dropout. Under autocast the layer
    computes in autocast's dtype.

    Args:
        x: (..., d_in), the inputs.
        weight, bias: the layer's W (d_out, d_in) and (d_out,) or None; the weight must be frozen.
        terms: the updates; down is (r, d_in), core (r, r) or None, and up (number of rows, r). There may be none.
    """
    assert not (weight.requires_grad and torch.is_grad_enabled()), "the weights under a low-rank update are frozen"
    recipe = recipe_of(x)
    tensors: list[Any] = [x, weight, bias, *(factor for _, factors in terms for factor in factors)]
    device = x.device.type
    if torch.is_autocast_enabled(device):
        low = torch.get_autocast_dtype(device)
        tensors = [tensor if tensor is None else tensor.to(low) for tensor in tensors]
    x, weight, bias, *factors = tensors
    parts, recipe = tuple(part for part, _ in terms), recipe or Recipe(Tensor.detach, x)
    return _Adapted.apply(x, recipe, weight, bias, parts, *factors)  # type: ignore[no-any-return,no-untyped-call]
