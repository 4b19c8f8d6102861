"""Makes the residual attention blocks of an open_clip model cheaper, without changing what the towers return.

Attention makes no copies of q, k and v. Of the last block only the token is computed at which the tower reads its
feature: the class token of an image, the end-of-text token of a text. All other tokens only enter its attention.
"""

from collections.abc import Iterable
from typing import Any

from open_clip.transformer import (
    LayerNorm,
    LayerNormFp32,
    LayerScale,
    QuickGELU,
    ResidualAttentionBlock,
    Transformer,
    VisionTransformer,
)
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from strategies.clip.attention import Mask, SelfAttention
from strategies.clip.packed import FirstToken, Packed, by_text
from strategies.clip.weight_matrices import root


# What computes each token by itself, or only holds other modules. Other classes may look at all tokens of an image or text.
BY_TOKEN = {
    nn.Linear, NonDynamicallyQuantizableLinear, nn.LayerNorm, LayerNorm, LayerNormFp32, LayerScale, nn.GELU, QuickGELU,
    nn.Identity, nn.Dropout, nn.Sequential, nn.ModuleList, nn.ModuleDict, Transformer, ResidualAttentionBlock,
}  # fmt: skip
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
METHODS = {"forward", "attention"}  # replaced in one module alone, they are as unknown as another class


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
    """Returns a hook, marked as one that works with fewer tokens than all of each image or text.

    A hook that is not marked makes its tower compute all tokens of each image or text, as open_clip does.

    Args:
        hook: a function, a `functools.partial` or another object that can be called and marked; no bound method. It is
            to be registered on a tower's block or a part of it.
        what: `takes_one_token`: the last block may be given one token of each image, (B, 1, d), with all of them,
            (B, L, d), as keys of its attention; and `takes_packed`: texts may come packed, as one row of tokens
            (1, N, d), in the last block as one token of each, (C, 1, d).
    """
    for name in what:
        setattr(hook, name, True)
    return hook


def unwatched(part: nn.Module, what: str = "") -> bool:
    """Returns whether all hooks on a module work with fewer tokens (see `allow`), and no method of it was replaced.

    Args:
        part: the module.
        what: `takes_one_token` or `takes_packed`, as in `allow`; empty if there must be no hook at all.
    """
    own = vars(part)
    if not METHODS.isdisjoint(own):
        return False
    hooks = (hook for name in HOOKS if own[name] for hook in own[name].values())
    return all(what and getattr(hook, what, False) for hook in hooks)


def drops(part: nn.Module) -> bool:
    """Returns whether a module has dropout: it is a dropout layer, or its attribute `dropout` is above 0."""
    return isinstance(part, nn.Dropout) or bool(getattr(part, "dropout", 0))


def all_allow(parts: Iterable[nn.Module], what: str) -> bool:
    """Returns whether parts of a tower's blocks work with fewer tokens than all of each image or text.

    They do where every part is known to compute each token by itself, or says so by an attribute of its class, and is
    `unwatched`. Others may expect all tokens.

    Args:
        parts: modules of the tower.
        what: `takes_one_token` or `takes_packed`, as in `allow`; also the attribute's name.
    """
    return all((type(part) in BY_TOKEN or getattr(type(part), what, False)) and unwatched(part, what) for part in parts)


class LastBlock(ResidualAttentionBlock):
    """The last block of a tower that reads its feature at one token: where it is told to, it returns this token alone.

    Of the other tokens only the first layer norm is computed. The parameters and their names are those of open_clip's
    block.

    Attributes:
        takes_one_token, takes_packed: True: it works with fewer tokens than all of each image or text.
    """

    takes_one_token = takes_packed = True

    def forward(
        self, q_x: Tensor, k_x: Tensor | None = None, v_x: Tensor | None = None, attn_mask: Mask = None
    ) -> Tensor:
        """Returns the last block's output at the token that is read, (B, 1, d); at all tokens (B, L, d) with other masks.

        Args:
            q_x: (B, L, d), the tokens of B images; or (1, N, d), the row of packed texts, of which (C, 1, d) returns.
            k_x, v_x: not used; open_clip leaves them out.
            attn_mask: `FirstToken` for images of which the first token is read; for packed texts their `Packed`. With
                another mask, or None, the block computes as open_clip's.
        """
        if not isinstance(attn_mask, FirstToken | Packed):
            return super().forward(q_x, attn_mask=attn_mask)  # type: ignore[no-any-return]
        normed = self.ln_1(q_x)  # (B, L, d)
        if isinstance(attn_mask, Packed):
            x, query = (row[0, attn_mask.ends][:, None] for row in (q_x, normed))  # (C, 1, d)
            seen, mask = by_text(normed[0], attn_mask), attn_mask.unseen  # (C, L, d), (C, 1, L)
        else:
            x, query, seen, mask = q_x[:, :1], normed[:, :1], normed, None
        x = x + self.ls_1(self.attn(query, seen, seen, attn_mask=mask)[0])
        return x + self.ls_2(self.mlp(self.ln_2(x)))  # type: ignore[no-any-return]


def ready_for_one_token(clip: Any) -> None:
    """Turns the last block of each plain tower of an open_clip model into a `LastBlock`, in place.

    It computes the same until it is told to compute one token. Image towers other than open_clip's own vision
    transformer, and blocks with special attention modules, stay as they are.
    """
    for tower in ("image", "text"):
        of = root(clip, tower)
        found: Any = getattr(getattr(of, "transformer", None), "resblocks", None)
        known = found and (tower == "text" or type(of) is VisionTransformer)
        if known and type(found[-1]) is ResidualAttentionBlock and type(found[-1].attn) is SelfAttention:
            found[-1].__class__ = LastBlock
