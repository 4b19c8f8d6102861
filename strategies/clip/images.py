"""Image features, for which the last block computes the class token alone.

Also says where the feature of an image is always the same, so that it need not be computed at each step.
"""

from typing import Any

from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from strategies.clip.blocks import BY_TOKEN, LastBlock, all_allow, drops, unwatched
from strategies.clip.packed import FirstToken


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


def repeatable(clip: Any) -> bool:
    """Returns whether the image tower gives an image the same feature at each call, as long as its weights stay.

    It does if it is open_clip's own vision transformer, all its parts are known to be the same at each call, none has
    dropout and is in training mode, and nobody looks on: a hook may add what changes from call to call.

    Args:
        clip: the open_clip model.
    """
    visual = clip.visual
    if type(visual) is not VisionTransformer or "encode_image" in vars(clip):
        return False
    known = {*BY_TOKEN, VisionTransformer, nn.Conv2d}
    return all(
        (type(part) in known or getattr(type(part), "takes_one_token", False))
        and unwatched(part, "repeats")
        and not (part.training and drops(part))
        for part in visual.modules()
    )


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
