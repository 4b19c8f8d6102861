"""Text features of prompts that are cut behind their end: the same features in less time.

In CLIP's text tower (Radford et al. 2021) a token attends only to the tokens before it, and the feature is read at the
end-of-text token. So all positions behind the last end-of-text token can be left out without any change of the
features: 77 tokens become about a dozen.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from strategies.clip.weight_matrices import root


class _Texts(nn.Module):
    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, tokens: Tensor) -> Tensor:
        return self.clip.encode_text(tokens)


def _causal(tower: Any) -> bool:
    """Whether no position attends to a later one, judged by the mask itself, and nothing else reads the padding."""
    mask = getattr(tower, "attn_mask", None)  # (L, L), added to the attention's logits
    if mask is None or getattr(tower, "use_pad_mask", False) or getattr(tower, "cls_emb", None) is not None:
        return False
    later = torch.ones_like(mask, dtype=torch.bool).triu(diagonal=1)
    return bool((mask[later] == float("-inf")).all())


def length(clip: nn.Module, tokens: Tensor) -> int:
    """Returns how many of the L positions of tokenised texts the text tower has to compute, an integer in 1..L.

    These are the positions up to the last end-of-text token. All L have to be computed where the tower is not causal,
    or reads its feature elsewhere than at the end of the text.

    Args:
        clip: the open_clip model.
        tokens: (..., L) int64, the texts.
    """
    tower = root(clip, "text")
    where = getattr(tower, "text_pool_type", getattr(tower, "pool_type", None))
    if where == "argmax":
        ends = tokens.argmax(dim=-1)
    elif where == "eos":
        ends = tokens.eq(int(getattr(tower, "text_eos_id", getattr(tower, "eos_id", 0)))).int().argmax(dim=-1)
    else:
        return tokens.shape[-1]
    return int(ends.max()) + 1 if _causal(tower) else tokens.shape[-1]


def encode(clip: Any, tokens: Tensor) -> Tensor:
    """Returns features (N, D), not scaled to unit length, of N texts.

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
