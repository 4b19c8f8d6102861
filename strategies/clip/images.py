"""Image features, for which the last block computes the class token alone.

Also says where the feature of an image is always the same, so that it need not be computed at each step.
"""

from typing import Any

from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from strategies.clip.activation import FusedQuickGELU
from strategies.clip.attention import SelfAttention
from strategies.clip.blocks import BY_TOKEN, LastBlock, all_allow, drops, unwatched
from strategies.clip.packed import FirstToken
from strategies.clip.recipe import KINDS


REPEATING = {*BY_TOKEN, VisionTransformer, nn.Conv2d, SelfAttention, LastBlock, FusedQuickGELU, *KINDS.values()}


def reads_first_token(clip: Any) -> bool:
    """Returns whether the image tower's feature depends on its last block at the first token alone, and nobody looks on.

    Args:
        clip: the open_clip model.
    """
    visual = clip.visual
    if type(visual) is not VisionTransformer or not isinstance(visual.transformer.resblocks[-1], LastBlock):
        return False
    if (
        visual.pool_type != "tok"
        or visual.attn_pool is not None
        or visual.output_tokens
        or "encode_image" in vars(clip)
    ):
        return False
    around = (visual, visual.transformer, visual.ln_post)
    last = visual.transformer.resblocks[-1].modules()
    return all(unwatched(part, "takes_one_token") for part in around) and all_allow(last, "takes_one_token")


def repeats(clip: Any) -> bool:
    """Returns whether the image tower by itself gives an image the same feature at each call, as long as its weights stay.

    It does if it is open_clip's own vision transformer, of parts that are known to do the same at each call, and none has
    dropout and is in training mode. Hooks are not looked at.

    Args:
        clip: the open_clip model.
    """
    parts = list(clip.visual.modules())
    return all(type(part) in REPEATING and not (part.training and drops(part)) for part in parts)


def unwatched_images(clip: Any) -> bool:
    """Returns whether nobody watches the image tower: no module of it has a hook, or a method that was replaced.

    Args:
        clip: the open_clip model.
    """
    return "encode_image" not in vars(clip) and all(unwatched(part) for part in clip.visual.modules())


def encode(clip: Any, pixels: Tensor) -> Tensor:
    """Returns features (B, D), not scaled to unit length, of B images.

    Args:
        clip: the open_clip model.
        pixels: (B, 3, H, W), scaled and normalised as the model wants them.
    """
    if not reads_first_token(clip):
        return clip.encode_image(pixels)
    visual = clip.visual
    tokens = visual.transformer(visual._embeds(pixels), attn_mask=FirstToken())  # (B, 1, d)
    pooled, _ = visual._pool(tokens)
    return pooled if visual.proj is None else pooled @ visual.proj
