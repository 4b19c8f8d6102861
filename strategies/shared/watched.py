"""Looks on at the weight matrices of an open_clip model while it computes: at their inputs, or at their outputs' gradients.

It sees all tokens, padding included, since a watched tower computes them all. The model's results do not change, and
nothing stays in the model afterwards. Only one may look on at a time. What is seen is added up by `Grams`, or averaged
by `SlotMeans`.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from strategies.clip.attention import Mask, SelfAttention, attend
from strategies.clip.weight_matrices import INWARD, WeightMatrix
from strategies.numerics.data_parallel import from_first
from strategies.numerics.gram import gram
from strategies.shared.input_covariance import block_name


See = Callable[[str, Tensor], None]  # a name, and (B, L, d) float32
_Layer = Callable[
    [str, Tensor, Tensor], None
]  # `qkv`, `o`, `fc` or `proj`, its input (B, L, d_in) and output (B, L, .)


def input_name(matrix: WeightMatrix) -> str:
    """Returns the name of a matrix's input, such as `image.0.o`; q, k and v of a block share theirs, `image.0.qkv`.

    Args:
        matrix: the weight matrix.
    """
    return f"{block_name(matrix.tower, matrix.block)}.{_layer(matrix.matrix)}"


def _layer(matrix: str) -> str:
    return "qkv" if matrix in INWARD else matrix


class _Attention(SelfAttention):
    """Self-attention that shows the inputs and outputs of its two linear layers, and expects all tokens."""

    takes_one_token = takes_packed = False
    show: _Layer

    def forward(  # type: ignore[override]
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False, attn_mask: Mask = None
    ) -> tuple[Tensor, None]:
        projected = F.linear(query, self.in_proj_weight, self.in_proj_bias)  # (B, L, 3 d)
        self.show("qkv", query, projected)
        mixed = attend(projected, self.num_heads, attn_mask)  # (B, L, d)
        out = self.out_proj(mixed)  # (B, L, d)
        self.show("o", mixed, out)
        return out, None


@contextmanager
def _watched(matrices: Iterable[WeightMatrix], show: Callable[[str, str, Tensor, Tensor], None]) -> Iterator[None]:
    """Calls `show` with block, layer, input and output whenever a layer has computed that holds one of the matrices."""
    layers: dict[Any, dict[str, _Layer]] = {}
    for matrix in matrices:
        layers.setdefault(matrix.module, {})[_layer(matrix.matrix)] = partial(
            show, block_name(matrix.tower, matrix.block)
        )
    with ExitStack() as stack:
        for block, wanted in layers.items():
            if own := wanted.get("qkv") or wanted.get("o"):
                stack.callback(delattr, block.attn, "show")
                stack.callback(setattr, block.attn, "__class__", type(block.attn))
                block.attn.show, block.attn.__class__ = own, _Attention  # the object stays, and so do its parameters
            for name, layer in (("fc", block.mlp.c_fc), ("proj", block.mlp.c_proj)):
                if name in wanted:
                    stack.callback(layer.register_forward_hook(partial(_after, wanted[name], name)).remove)
        yield


def _after(show: _Layer, name: str, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    show(name, inputs[0], output)


@contextmanager
def watched_inputs(matrices: Iterable[WeightMatrix], see: See) -> Iterator[None]:
    """Context in which `see` is given the inputs of weight matrices, whenever a model has computed with them.

    It is called with the input's name (`input_name`) and its values (B, L, d_in) float32, without gradients: all L tokens
    of B images or texts.

    Args:
        matrices: the matrices, without low-rank updates attached.
        see: what is called.
    """
    matrices = list(matrices)
    wanted = {input_name(matrix) for matrix in matrices}

    def show(block: str, layer: str, x: Tensor, _: Tensor) -> None:
        if (name := f"{block}.{layer}") in wanted:
            see(name, x.detach().float())

    with _watched(matrices, show):
        yield


@contextmanager
def watched_gradients(matrices: Iterable[WeightMatrix], see: See) -> Iterator[None]:
    """Context in which `see` is given the gradients of weight matrices' outputs, during a backward pass within it.

    It is called with the matrix's name, such as `image.0.q`, and the gradient (B, L, d_out) float32 of all L tokens of B
    images or texts.

    Args:
        matrices: the matrices, without low-rank updates attached. Only outputs that require a gradient have one.
        see: what is called.
    """
    matrices = list(matrices)
    wanted = {matrix.name for matrix in matrices}

    def back(names: list[str], gradient: Tensor) -> None:
        for name, part in zip(names, gradient.chunk(len(names), dim=-1), strict=True):
            if name in wanted:
                see(name, part.float())

    def show(block: str, layer: str, _: Tensor, output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(partial(back, [f"{block}.{one}" for one in (INWARD if layer == "qkv" else (layer,))]))

    with _watched(matrices, show):
        yield


class Grams:
    """Adds up X^T X over all tokens X (N, d) that are seen, by name.

    Attributes:
        sums: X^T X (d, d) float64 by name; divided by N it is the uncentred covariance.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}

    def add(self, name: str, values: Tensor) -> None:
        """Adds values (B, L, d) to the sum of their name."""
        product = gram(values.flatten(0, -2))  # (d, d)
        self.sums[name] = self.sums[name] + product if name in self.sums else product


class SlotMeans:
    """Averages values over batches, slot by slot, as KeepLoRA does: a slot is a position in a batch of images.

    Attributes:
        means: the running averages (B, L, d) float32 by name: of the l-th token of the b-th image of all batches.
    """

    def __init__(self) -> None:
        self.means: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, values: Tensor) -> None:
        """Takes values (B, L, d) of one more batch into the average of their name; all batches have the same shape."""
        count = self._counts[name] = self._counts.get(name, 0) + 1
        self.means[name] = values.clone() if count == 1 else self.means[name].lerp_(values, 1 / count)

    def grams(self) -> dict[str, Tensor]:
        """Returns M^T M (d, d) float64 by name, M (B L, d) being the averages of all slots."""
        return {name: gram(mean.flatten(0, -2)) for name, mean in self.means.items()}


def same_everywhere(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gives every process of a run the tensors of the first, in place, and returns them: devices may round differently.

    Args:
        found: the tensors by name, of the same names and shapes in every process.
    """
    for name in sorted(found):
        from_first(found[name])
    return found
