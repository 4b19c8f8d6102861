"""Self-attention without the copies of q, k, v and of the attended values that torch's own module makes.

It computes the same function as `torch.nn.MultiheadAttention`, in less time.
"""

import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn


def attend(projected: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    """Returns the output (B, L, d) of multi-head attention before the output projection.

    B counts images or texts, L their tokens, and d the values of a token.

    Args:
        projected: queries, keys and values side by side, (B, L, 3 d).
        heads: the number of heads, which divides d.
        mask: added to the attention scores: (L, L), or (B * heads, L, L) as CoCa's text tower has it; None for no mask.
    """
    if mask is not None and mask.dim() == 3:
        mask = mask.unflatten(0, (-1, heads))  # (B, heads, L, L)
    by_head = projected.unflatten(-1, (3, heads, -1))  # (B, L, 3, heads, d / heads)
    q, k, v = by_head.permute(2, 0, 3, 1, 4)  # each (B, heads, L, d / heads), a view
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


class SelfAttention(nn.MultiheadAttention):
    """Replacement for `torch.nn.MultiheadAttention` in open_clip's self-attention, without its copies of q, k and v.

    It takes batch-first inputs. The parameters and their names stay those of torch's module, so that a state dict fits
    both.
    """

    def forward(  # type: ignore[override]
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Returns the attention's output (B, L, d), and None in place of the attention weights.

        B counts images or texts, L their tokens, and d the values of a token.

        Args:
            query, key, value: one tensor (B, L, d), which open_clip passes three times; only `query` is read.
            need_weights: ignored.
            attn_mask: added to the attention scores: (L, L) or (B * heads, L, L); None for no mask.
        """
        projected = F.linear(query, self.in_proj_weight, self.in_proj_bias)  # (B, L, 3 d)
        return self.out_proj(attend(projected, self.num_heads, attn_mask)), None


def spare_copies(clip: nn.Module) -> None:
    """Turns the attention of every plain residual attention block of an open_clip model into `SelfAttention`, in place.

    It computes the same, without torch's copies of q, k and v. Blocks with cross-attention, blocks with special
    attention modules, and attention poolers stay as they are.
    """
    for block in clip.modules():
        plain = isinstance(block, ResidualAttentionBlock) and not hasattr(block, "ln_1_kv")  # has it: cross-attention
        if plain and type(block.attn) is nn.MultiheadAttention and block.attn.batch_first:
            block.attn.__class__ = SelfAttention  # the object stays, and so do its parameters and hooks
