"""Finds the weight matrices of a CLIP: those of attention and MLP in both towers, by tower, block and name."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


TOWERS = {"both": ("image", "text"), "image": ("image",), "text": ("text",)}
INWARD = ("q", "k", "v")  # the attention's matrices that share one parameter and one input


@dataclass(frozen=True)
class WeightMatrix:
    """One weight matrix of a CLIP, by where it is in the model.

    Attributes:
        tower: `image` or `text`.
        block: the index of the residual attention block in its tower, from 0.
        matrix: `q`, `k`, `v` or `o` (query, key, value and output projection of the attention), or `fc` or `proj`
            (first and second layer of the MLP).
        module: the residual attention block that holds the matrix.
    """

    tower: str
    block: int
    matrix: str
    module: Any

    @property
    def name(self) -> str:
        """Tower, block and matrix, such as `image.0.q`."""
        return f"{self.tower}.{self.block}.{self.matrix}"

    def parameter(self) -> nn.Parameter:
        """Returns the parameter that holds the matrix: (d_out, d_in), or (3 d, d) for q, k and v, which share one."""
        if self.matrix == "fc":
            return self.module.mlp.c_fc.weight
        if self.matrix == "proj":
            return self.module.mlp.c_proj.weight
        if self.matrix == "o":
            return self.module.attn.out_proj.weight
        return self.module.attn.in_proj_weight

    def rows(self, whole: Tensor) -> Tensor:
        """Returns the matrix's rows (d_out, d_in), as a view, of a tensor that has the shape of its `parameter`.

        Args:
            whole: the parameter itself, or its gradient.
        """
        return whole.chunk(3)["qkv".index(self.matrix)] if self.matrix in INWARD else whole

    def weight(self) -> Tensor:
        """Returns the matrix (d_out, d_in) as a view: writing to it changes the model.

        Its rows belong to the outputs. open_clip keeps q, k and v as three blocks of rows of one parameter.
        """
        return self.rows(self.parameter())


def root(clip: Any, tower: str) -> Any:
    """Returns the module that holds the parts of a tower, such as its blocks and its position embedding.

    For the text tower of open_clip's plain CLIP this is the model itself.

    Args:
        clip: the open_clip model.
        tower: `image` or `text`.
    """
    return clip.visual if tower == "image" else getattr(clip, "text", clip)


def blocks(clip: nn.Module, tower: str) -> list[Any]:
    """Returns the residual attention blocks of a tower, from input to output.

    Args:
        clip: the open_clip model.
        tower: `image` or `text`.

    Raises:
        ValueError: the tower is not a plain open_clip transformer with torch's batch-first attention. Examples are a
            ResNet, a timm or Hugging Face tower, and special attention modules.
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
    """Returns the chosen weight matrices of the chosen towers, ordered by tower, block and matrix.

    Args:
        clip: the open_clip model.
        towers: `image`, `text` or `both`.
        matrices: any of `q`, `k`, `v`, `o` (attention) and `fc`, `proj` (MLP).

    Raises:
        ValueError: a chosen tower is not a plain open_clip transformer (see `blocks`).
    """
    return [
        WeightMatrix(tower, index, matrix, block)
        for tower in TOWERS[towers]
        for index, block in enumerate(blocks(clip, tower))
        for matrix in matrices
    ]
