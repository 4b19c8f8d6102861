"""Where a CLIP's weight matrices are: every attention and MLP matrix of both towers by tower, block and name."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


TOWERS = {"both": ("image", "text"), "image": ("image",), "text": ("text",)}


@dataclass(frozen=True)
class WeightMatrix:
    """One weight matrix.

    Attributes:
        tower: `image` or `text`.
        block: from 0.
        matrix: `q`, `k`, `v`, `o` of the attention, `fc` and `proj` of the MLP.
        module: the residual attention block it belongs to.
    """

    tower: str
    block: int
    matrix: str
    module: Any

    @property
    def name(self) -> str:
        return f"{self.tower}.{self.block}.{self.matrix}"

    def weight(self) -> Tensor:
        """(d_out, d_in), a view of the parameter: open_clip keeps q, k and v as three row blocks of one."""
        if self.matrix == "fc":
            return self.module.mlp.c_fc.weight
        if self.matrix == "proj":
            return self.module.mlp.c_proj.weight
        if self.matrix == "o":
            return self.module.attn.out_proj.weight
        return self.module.attn.in_proj_weight.chunk(3)["qkv".index(self.matrix)]


def root(clip: Any, tower: str) -> Any:
    """The module that a tower's parts hang on: open_clip's plain CLIP has the text tower's directly on itself."""
    return clip.visual if tower == "image" else getattr(clip, "text", clip)


def blocks(clip: nn.Module, tower: str) -> list[Any]:
    """The residual attention blocks of a tower.

    Raises:
        ValueError: the tower's attention is not torch's own, batch first, as in open_clip's plain transformers (a ResNet,
            a timm or Hugging Face tower, or one of the special attentions).
    """
    found = getattr(getattr(root(clip, tower), "transformer", None), "resblocks", None)
    if found is None or not all(_plain(block) for block in found):
        raise ValueError(
            f"the model's {tower} tower is no plain open_clip transformer: its attention has no q, k, v, o"
        )
    return list(found)


def _plain(block: Any) -> bool:
    attention = getattr(getattr(block, "attn", None), "base", getattr(block, "attn", None))  # an update may be attached
    return isinstance(attention, nn.MultiheadAttention) and attention.batch_first


def weight_matrices(
    clip: nn.Module, towers: str = "both", matrices: Iterable[str] = ("q", "k", "v", "o")
) -> list[WeightMatrix]:
    """The matrices named, in the order tower, block, matrix."""
    return [
        WeightMatrix(tower, index, matrix, block)
        for tower in TOWERS[towers]
        for index, block in enumerate(blocks(clip, tower))
        for matrix in matrices
    ]
