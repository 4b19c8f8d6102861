"""Self-attention without copies of q, k and v, and attention of one token, which forms no keys and values at all.

Both compute the same function as `torch.nn.MultiheadAttention`, in less time.
"""

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from strategies.clip.packed import FirstToken, Packed, by_text, in_row


Mask = Tensor | Packed | FirstToken | None


# A linear map of the tokens: what it is given (B, L, d_in), and matrices (d, .) ... (., d_in) whose product it is.
LinearMap = tuple[Tensor, Sequence[Tensor]]


def attend(projected: Tensor, heads: int, mask: Mask) -> Tensor:
    """Returns the output (B, L, d) of multi-head attention before the output projection.

    B counts images or texts, L their tokens, and d the values of a token. For packed texts B is 1 and L the row's
    length N.

    Args:
        projected: queries, keys and values side by side, (B, L, 3 d).
        heads: the number of heads, which divides d.
        mask: added to the attention scores: (L, L), or (B * heads, L, L) as CoCa's text tower has it; None for no mask.
            For packed texts their `Packed`: each token then attends to itself and those before it in its text.
            `FirstToken` is no mask.
    """
    if isinstance(mask, Packed):
        q, k, v = _by_head(by_text(projected[0], mask), heads)  # each (C, heads, L of the longest, d / heads)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return in_row(mixed.transpose(1, 2).flatten(2), mask)[None]
    if isinstance(mask, FirstToken):
        mask = None
    by_head = mask.unflatten(0, (-1, heads)) if mask is not None and mask.dim() == 3 else mask  # (B, heads, L, L)
    q, k, v = _by_head(projected, heads)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=by_head).transpose(1, 2).flatten(2)


def _by_head(projected: Tensor, heads: int) -> Sequence[Tensor]:
    """Queries, keys and values, each (B, heads, L, d / heads), as views of (B, L, 3 d)."""
    # By chunks: their gradients are joined by one copy, where those of `unbind` would take two.
    return [each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in projected.chunk(3, dim=-1)]


def attend_once(
    query: Tensor, keys: Sequence[LinearMap], values: Sequence[LinearMap], bias: Tensor | None, heads: int,
    mask: Tensor | None,
) -> Tensor:  # fmt: skip
    """Returns the output (B, 1, d) of multi-head attention of one token, before the output projection.

    With one query q, the scores q^T (W_k x) of all tokens x are (W_k^T q)^T x, and the output sum_x p_x W_v x is
    W_v (sum_x p_x x): W_k and W_v are applied once, in place of once for each token. A bias of the keys adds the same to
    all scores, so it changes nothing; that of the values is added to the output, since the p_x sum to 1.

    Args:
        query: (B, 1, d), the projected query.
        keys: linear maps whose sum gives the keys (B, L, d), without bias.
        values: linear maps whose sum gives the values (B, L, d), without bias.
        bias: (d,), that of the values; None for none.
        heads: the number of heads, which divides d.
        mask: added to the attention scores, (B, 1, L); None for no mask.
    """
    assert query.shape[1] == 1
    # These products are small: in the weights' own precision they cost little, and softmax needs it for the scores.
    precise = keys[0][1][0].dtype
    with torch.autocast(query.device.type, enabled=False):
        q = query[:, 0].to(precise).unflatten(-1, (heads, -1))  # (B, heads, e) with e = d / heads
        each = (_down(q, matrices) @ x.to(precise).transpose(1, 2) for x, matrices in keys)
        scores = reduce(torch.add, each)  # (B, heads, L)
        scores = scores * q.shape[-1] ** -0.5
        weights = (scores if mask is None else scores + mask).softmax(dim=-1)
        mixed = reduce(torch.add, (_up(weights @ x.to(precise), matrices) for x, matrices in values))  # (B, heads, e)
        mixed = mixed.flatten(1)[:, None]  # (B, 1, d)
        return mixed if bias is None else mixed + bias


def _down(q: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Returns (B, heads, d_in): q (B, heads, e) times each head's rows of the product of the matrices."""
    first, *others = matrices
    by_head = first.unflatten(0, (q.shape[1], -1))  # (heads, e, .)
    return reduce(torch.matmul, others, torch.einsum("bhe,hei->bhi", q, by_head))


def _up(x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Returns (B, heads, e): each head's rows of the product of the matrices, times x (B, heads, d_in)."""
    first, *others = matrices
    for matrix in reversed(others):
        x = x @ matrix.T
    return torch.einsum("bhi,hei->bhe", x, first.unflatten(0, (x.shape[1], -1)))


class SelfAttention(nn.MultiheadAttention):
    """Replacement for `torch.nn.MultiheadAttention` in open_clip's self-attention, without its copies of q, k and v.

    It takes batch-first inputs. The parameters and their names stay those of torch's module, so that a state dict fits
    both.

    Attributes:
        takes_one_token: True: it can compute one token's attention to others.
        takes_packed: True: it can compute packed texts.
    """

    takes_one_token = takes_packed = True

    def forward(  # type: ignore[override]
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False,
        attn_mask: Mask = None,
    ) -> tuple[Tensor, None]:  # fmt: skip
        """Returns the attention's output (B, L, d) or (B, 1, d), and None in place of the attention weights.

        B counts images or texts, L their tokens, and d the values of a token.

        Args:
            query: (B, L, d), the same as `key`; or one token (B, 1, d), which attends to those of `key`.
            key: (B, L, d).
            value: the same as `key`.
            need_weights: ignored.
            attn_mask: added to the attention scores: (L, L) or (B * heads, L, L), for one token (B, 1, L); None for no
                mask. Where `query` is the same as `key` it may be a `Packed` or `FirstToken` too (see `attend`).
        """
        if query.shape == key.shape:
            projected = F.linear(query, self.in_proj_weight, self.in_proj_bias)  # (B, L, 3 d)
            return self.out_proj(attend(projected, self.num_heads, attn_mask)), None
        assert not isinstance(attn_mask, Packed | FirstToken)
        (q, k, v), (q_bias, v_bias) = projections(self)
        projected = F.linear(query, q, q_bias)  # (B, 1, d)
        return self.out_proj(
            attend_once(projected, [(key, (k,))], [(key, (v,))], v_bias, self.num_heads, attn_mask)
        ), None


def projections(attention: nn.MultiheadAttention) -> tuple[Sequence[Tensor], tuple[Tensor | None, Tensor | None]]:
    """Returns the weights (d, d) of an attention's queries, keys and values, and the biases (d,) of queries and values.

    They are views of its parameters; a bias is None where the attention has none.
    """
    biases = attention.in_proj_bias
    q_bias, _, v_bias = (None, None, None) if biases is None else biases.chunk(3)
    return attention.in_proj_weight.chunk(3), (q_bias, v_bias)
