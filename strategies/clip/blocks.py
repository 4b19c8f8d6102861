"""Makes the residual attention blocks of an open_clip model cheaper, without changing what the towers return.

Attention makes no copies of q, k and v. Of the last block only the token is computed at which the tower reads its
feature: the class token of an image, the end-of-text token of a text. All other tokens only enter its attention.
"""

from collections.abc import Iterable
from typing import Any

from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

from strategies.clip.attention import SelfAttention
from strategies.clip.packed import Packed, by_text


def spare_copies(clip: nn.Module) -> None:
    """Turns the attention of every plain residual attention block of an open_clip model into `SelfAttention`, in place.

    It computes the same, without torch's copies of q, k and v. Blocks with cross-attention, blocks with special
    attention modules, and attention poolers stay as they are.
    """
    for block in clip.modules():
        plain = isinstance(block, ResidualAttentionBlock) and not hasattr(block, "ln_1_kv")  # has it: cross-attention
        if plain and type(block.attn) is nn.MultiheadAttention and block.attn.batch_first:
            block.attn.__class__ = SelfAttention  # the object stays, and so do its parameters and hooks


def allow(hook: Any, *what: str) -> Any:
    """Returns a hook (a function), marked as one that works with fewer tokens than all of each image or text.

    Args:
        hook: to be registered on a block or a part of it.
        what: any of `takes_one_token`: the last block may be given the first token of each image alone; and
            `takes_packed`: texts may come packed, as one row of tokens.
    """
    for name in what:
        setattr(hook, name, True)
    return hook


def all_allow(parts: Iterable[nn.Module], what: str) -> bool:
    """Returns whether parts of a tower work with fewer tokens than all of each image or text.

    They do where every attention is this project's and every hook says so (see `allow`). Others may expect all tokens.

    Args:
        parts: modules of the tower.
        what: `takes_one_token` or `takes_packed`, as in `allow`.
    """
    for part in parts:
        if part._forward_hooks or part._forward_pre_hooks:
            hooks = (*part._forward_hooks.values(), *part._forward_pre_hooks.values())
            if not all(getattr(hook, what, False) for hook in hooks):
                return False
        if isinstance(part, ResidualAttentionBlock) and not getattr(part.attn, what, False):
            return False
    return True


class LastBlock(ResidualAttentionBlock):
    """The last block of a tower that reads its feature at one token: it returns this token alone, where it can.

    Of the other tokens only the first layer norm is computed. The parameters and their names are those of open_clip's
    block.

    Attributes:
        reads_first: whether the tower reads its first token where no mask is given, as that of images does.
    """

    reads_first = False

    def forward(
        self, q_x: Tensor, k_x: Tensor | None = None, v_x: Tensor | None = None,
        attn_mask: Tensor | Packed | None = None,
    ) -> Tensor:  # fmt: skip
        """Returns the last block's output at the token that is read, (B, 1, d), for images or packed texts.

        For texts that are not packed, and where something about the block may need all tokens (see `all_allow`), it returns
        all of them, (B, L, d), as open_clip does.

        Args:
            q_x: (B, L, d), the tokens of B images; or (1, N, d), the row of packed texts, of which (C, 1, d) returns.
            k_x, v_x: not used; open_clip leaves them out.
            attn_mask: None for images, whose first token is read; for packed texts their `Packed`.
        """
        first = attn_mask is None and self.reads_first and all_allow(self.modules(), "takes_one_token")
        if not (first or isinstance(attn_mask, Packed)):
            return super().forward(q_x, attn_mask=attn_mask)  # type: ignore[no-any-return]
        normed = self.ln_1(q_x)  # (B, L, d)
        if isinstance(attn_mask, Packed):
            x, query = (row[0, attn_mask.ends][:, None] for row in (q_x, normed))  # (C, 1, d)
            seen, mask = by_text(normed[0], attn_mask), attn_mask.unseen  # (C, L, d), (C, 1, L)
        else:
            x, query, seen, mask = q_x[:, :1], normed[:, :1], normed, None
        x = x + self.ls_1(self.attn(query, seen, seen, attn_mask=mask)[0])
        return x + self.ls_2(self.mlp(self.ln_2(x)))  # type: ignore[no-any-return]


def read_one_token(clip: Any) -> None:
    """Makes the last block of each tower of an open_clip model compute only the token that the tower reads, in place.

    A tower stays as it is where it reads more than one token (as with average pooling), or is not a plain one.
    """
    visual, text = clip.visual, getattr(clip, "text", clip)
    one_token = isinstance(visual, VisionTransformer) and visual.pool_type == "tok" and visual.attn_pool is None
    if one_token and not visual.output_tokens:
        _shorten(visual.transformer, reads_first=True)
    if hasattr(getattr(text, "transformer", None), "resblocks"):
        _shorten(text.transformer, reads_first=False)  # only what is packed gets shorter


def _shorten(transformer: Any, *, reads_first: bool) -> None:
    last = transformer.resblocks[-1]
    if type(last) is ResidualAttentionBlock and type(last.attn) is SelfAttention:
        last.__class__, last.reads_first = LastBlock, reads_first
