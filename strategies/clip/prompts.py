"""Text features without the work that does not change them: what stands behind a text's end, and what texts share.

In CLIP's text tower (Radford et al. 2021) a token attends only to the tokens before it, and the feature is read at the
end-of-text token. So all positions behind it can be left out: 77 tokens become about a dozen. Tokens with which all
texts begin are computed once (see `strategies/clip/packed.py`).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from strategies.clip.blocks import LastBlock, all_allow, drops, unwatched
from strategies.clip.packed import Packed, pack
from strategies.clip.weight_matrices import root


class _Texts(nn.Module):
    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, tokens: Tensor) -> Tensor:
        return self.clip.encode_text(tokens)


def _causal(tower: Any) -> bool:
    """Whether each position attends to itself and all before it, judged by the mask itself, and nothing reads the padding."""
    mask = getattr(tower, "attn_mask", None)  # (L, L), added to the attention's logits
    if mask is None or getattr(tower, "use_pad_mask", False) or getattr(tower, "cls_emb", None) is not None:
        return False
    return torch.equal(mask, torch.full_like(mask, float("-inf")).triu(diagonal=1))


def ends(clip: nn.Module, tokens: Tensor) -> Tensor | None:
    """Returns the position (...) int64, from 0, of the token at which the feature of each text is read.

    None where what follows that token has to be computed too: the tower is not causal, or it reads its feature
    elsewhere than at the end of the text.

    Args:
        clip: the open_clip model.
        tokens: (..., L) int64, the texts.
    """
    tower = root(clip, "text")
    where = getattr(tower, "text_pool_type", getattr(tower, "pool_type", None))
    if where == "argmax":
        found = tokens.argmax(dim=-1)
    elif where == "eos":
        found = tokens.eq(int(getattr(tower, "text_eos_id", getattr(tower, "eos_id", 0)))).int().argmax(dim=-1)
    else:
        return None
    return found if _causal(tower) else None


def length(clip: nn.Module, tokens: Tensor) -> int:
    """Returns how many of the L positions of tokenised texts the text tower has to compute, an integer in 1..L.

    These are the positions up to the last end-of-text token. All L have to be computed where `ends` is None.

    Args:
        clip: the open_clip model.
        tokens: (..., L) int64, the texts.
    """
    found = ends(clip, tokens)
    return tokens.shape[-1] if found is None else int(found.max()) + 1


def encode(clip: Any, tokens: Tensor) -> Tensor:
    """Returns features (N, D), not scaled to unit length, of N texts, all of whose tokens are computed.

    Args:
        clip: the open_clip model.
        tokens: (N, L) int64. L may be less than the text tower's context length if only padding is cut that the tower
            does not need; `length` returns the least L.
    """
    tower, kept = root(clip, "text"), tokens.shape[-1]
    if kept == clip.context_length:
        return clip.encode_text(tokens)
    name = "clip" if tower is clip else "clip.text"
    short = {
        f"{name}.positional_embedding": tower.positional_embedding[:kept],
        f"{name}.attn_mask": tower.attn_mask[:kept, :kept],
    }
    return functional_call(_Texts(clip), short, (tokens,), tie_weights=False)


def sharing(clip: Any) -> bool | None:
    """Returns whether packed texts may share their common beginning now; None if the text tower cannot compute them.

    It can where its last block is a `LastBlock`, all parts of its blocks take packed texts (see `all_allow`), and nobody
    looks on around them. They may share where nothing random acts on each text's tokens: no part has dropout and is in
    training mode.

    Args:
        clip: the open_clip model.
    """
    tower = root(clip, "text")
    transformer: Any = getattr(tower, "transformer", None)
    if not isinstance(getattr(transformer, "resblocks", [None])[-1], LastBlock) or "encode_text" in vars(clip):
        return None
    around = [tower.token_embedding, tower.ln_final, tower.text_projection, *([] if tower is clip else [tower])]
    if not all(unwatched(part, "takes_packed") for part in around if isinstance(part, nn.Module)):
        return None
    parts = [*transformer.modules(), tower.ln_final]
    if type(tower.token_embedding) is not nn.Embedding or not all_allow(parts, "takes_packed"):
        return None
    return not any(part.training and drops(part) for part in parts)


def packed(clip: Any, tokens: Tensor) -> Packed | None:
    """Returns N texts in the form in which the text tower computes them fastest now; None if it cannot be packed.

    Args:
        clip: the open_clip model.
        tokens: (N, L) int64, the texts.
    """
    share = sharing(clip)
    found = None if share is None else ends(clip, tokens)
    return None if share is None or found is None else pack(tokens, found, share=share)


def encode_packed(clip: Any, texts: Packed) -> Tensor:
    """Returns features (C, D), not scaled to unit length, of C packed texts.

    Args:
        clip: the open_clip model, for which `sharing` is not None.
        texts: the texts.
    """
    tower = root(clip, "text")
    # Not by indexing: its gradient adds up in another order each time where several threads do it.
    places = F.embedding(texts.positions, tower.positional_embedding)  # (N, d)
    x = tower.token_embedding(texts.tokens) + places
    x = tower.ln_final(tower.transformer(x[None], attn_mask=texts)[:, 0])  # (C, d)
    projection = tower.text_projection
    if projection is None:
        return x
    return projection(x) if isinstance(projection, nn.Linear) else x @ projection
