"""Self-attention that copies neither q, k and v nor what it mixes, as torch's own does: the same function, sooner."""

import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn


def attend(projected: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    """Queries, keys and values side by side (B, L, 3 d) to (B, L, d).

    Args:
        mask: what is added to the scores, (L, L), or (B heads, L, L) as CoCa's text tower has it.
    """
    if mask is not None and mask.dim() == 3:
        mask = mask.unflatten(0, (-1, heads))  # (B, heads, L, L)
    by_head = projected.unflatten(-1, (3, heads, -1))  # (B, L, 3, heads, d / heads)
    q, k, v = by_head.permute(2, 0, 3, 1, 4)  # each (B, heads, L, d / heads), a view
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


class SelfAttention(nn.MultiheadAttention):
    """In place of torch's in open_clip's blocks, batch first; the parameters are the same, and so are their names."""

    def forward(  # type: ignore[override]
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Called as open_clip calls torch's: query, key and value are one tensor (B, L, d). Returns ((B, L, d), None)."""
        projected = F.linear(query, self.in_proj_weight, self.in_proj_bias)  # (B, L, 3 d)
        return self.out_proj(attend(projected, self.num_heads, attn_mask)), None


def spare_copies(clip: nn.Module) -> None:
    """Puts it into a model wherever torch's attention stands in a plain block; that of other blocks and poolers stays."""
    for block in clip.modules():
        plain = isinstance(block, ResidualAttentionBlock) and not hasattr(block, "ln_1_kv")  # else keys of their own
        if plain and type(block.attn) is nn.MultiheadAttention and block.attn.batch_first:
            block.attn.__class__ = SelfAttention  # in place, so that the parameters and hooks stay what they are
