"""Low-rank updates of attention and MLP matrices while a task is learned, and their merging afterwards.

open_clip's attention keeps q, k and v in one matrix and reads the output projection without calling it, so updates that
see the layer's input (dropout acts on it) cannot be wrapped around its modules: while a task is learned the attention is
replaced by `AdaptedAttention`, which computes the same function plus the updates (`strategies.shared.fused_low_rank`).
"""

import math
from collections.abc import Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from strategies.base import StrategyPlugin
from strategies.clip.attention import attend
from strategies.clip.weight_matrices import WeightMatrix, blocks, weight_matrices
from strategies.numerics.data_parallel import WHOLE, share
from strategies.numerics.precision import full_precision
from strategies.shared.fused_low_rank import Factors, Part, adapted_linear, left
from strategies.shared.settings import LowRankSettings


class LowRankUpdate(nn.Module):
    """dW = scale * up @ core @ down, or scale * up @ down without a core.

    Args:
        down: (r, d_in).
        up: (d_out, r).
        core: (r, r) or None.
        scale: factor on the product.
        dropout: probability, on the layer's input, while training.
        trained: the factors that are parameters; the others are frozen buffers.

    Attributes:
        share: this process's of the layer's inputs.
    """

    down: Tensor
    up: Tensor
    core: Tensor | None

    def __init__(
        self, down: Tensor, up: Tensor, core: Tensor | None, *, scale: float, dropout: float, trained: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.scale, self.dropout, self.share = scale, dropout, WHOLE
        for name, factor in (("down", down), ("up", up), ("core", core)):
            if name in trained and factor is not None:
                self.register_parameter(name, nn.Parameter(factor))
            else:
                self.register_buffer(name, factor)

    def terms(self, first: int) -> list[tuple[Part, Factors]]:
        """As updates of the rows of a weight from `first` on."""
        rows = slice(first, first + len(self.up))
        dropout = self.dropout if self.training else 0.0
        return [(Part(rows, self.scale, dropout, self.share), (self.down, self.core, self.up))]

    def delta(self) -> Tensor:
        """dW (d_out, d_in)."""
        each = (part.scale * (left(up, core) @ down) for part, (down, core, up) in self.terms(0))
        return reduce(torch.add, each)


def adapted(x: Tensor, weight: Tensor, bias: Tensor | None, updates: Mapping[int, Any]) -> Tensor:
    """Inputs (..., d_in) to outputs (..., d_out) of a weight with these `LowRankUpdate`s, by their first row."""
    terms = [term for first, update in updates.items() for term in update.terms(first)]
    return adapted_linear(x, weight, bias, terms)


class AdaptedAttention(nn.Module):
    """Self-attention of `base` with updates added to some of its q, k, v and o projections.

    Args:
        base: open_clip's attention, batch first; its weights are used, not copied.
        updates: by matrix name.
    """

    def __init__(self, base: nn.MultiheadAttention, updates: Mapping[str, LowRankUpdate]) -> None:
        super().__init__()
        self.base, self.updates = base, nn.ModuleDict(updates)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Called as open_clip calls its own: query, key and value are one tensor (B, L, d). Returns ((B, L, d), None)."""
        base = self.base
        width = base.embed_dim
        inward = {place * width: self.updates[name] for place, name in enumerate("qkv") if name in self.updates}
        projected = adapted(query, base.in_proj_weight, base.in_proj_bias, inward)  # (B, L, 3 d)
        mixed = attend(projected, base.num_heads, attn_mask)  # (B, L, d)
        outward = {0: self.updates["o"]} if "o" in self.updates else {}
        return adapted(mixed, base.out_proj.weight, base.out_proj.bias, outward), None


class AdaptedLinear(nn.Module):
    """A linear layer with an update added."""

    def __init__(self, base: nn.Linear, update: LowRankUpdate) -> None:
        super().__init__()
        self.base, self.update = base, update

    @property
    def weight(self) -> Tensor:
        """open_clip asks the MLP's first layer for its weight to learn the dtype."""
        return self.base.weight

    def forward(self, x: Tensor) -> Tensor:
        return adapted(x, self.base.weight, self.base.bias, {0: self.update})


def attach(updates: Mapping[WeightMatrix, LowRankUpdate]) -> None:
    """Puts the updates into the model: from now on the model computes with them."""
    grouped: dict[Any, dict[str, LowRankUpdate]] = {}
    for place, update in updates.items():
        if place.tower == "image":
            update.share = share()  # of the prompts every process computes all
        grouped.setdefault(place.module, {})[place.matrix] = update
    for block, by_matrix in grouped.items():
        for matrix, layer in (("fc", "c_fc"), ("proj", "c_proj")):
            if matrix in by_matrix:
                setattr(block.mlp, layer, AdaptedLinear(getattr(block.mlp, layer), by_matrix.pop(matrix)))
        if by_matrix:
            block.attn = AdaptedAttention(block.attn, by_matrix)


def detach(clip: nn.Module) -> None:
    """Takes all updates out of the model, unmerged; does nothing where there are none."""
    for tower in ("image", "text"):
        for block in blocks(clip, tower):
            if isinstance(block.attn, AdaptedAttention):
                block.attn = block.attn.base
            for layer in ("c_fc", "c_proj"):
                if isinstance(getattr(block.mlp, layer), AdaptedLinear):
                    setattr(block.mlp, layer, getattr(block.mlp, layer).base)


@torch.no_grad()
def merge(clip: nn.Module, updates: Mapping[WeightMatrix, LowRankUpdate]) -> None:
    """W <- W + dW for every update, and the model is plain open_clip again."""
    detach(clip)
    with full_precision():
        for matrix, update in updates.items():
            matrix.weight().add_(update.delta())


def scale(alpha: float, rank: int) -> float:
    """alpha / sqrt(rank): the rank-stabilised convention of the released code."""
    return alpha / math.sqrt(rank)


def kaiming(weight: Tensor, rank: int) -> Tensor:
    """LoRA's start of `down` for a weight (d_out, d_in): (rank, d_in), Kaiming-uniform with a = sqrt(5)."""
    # Drawn on the CPU: the same start on every device.
    return nn.init.kaiming_uniform_(torch.empty(rank, weight.shape[1]), a=math.sqrt(5)).to(weight.device)


def from_zero(weight: Tensor, down: Tensor, settings: LowRankSettings, trained: tuple[str, ...]) -> LowRankUpdate:
    """The update of a weight (d_out, d_in) with this `down` (r, d_in) and an `up` of zeros, so that it starts at none."""
    return LowRankUpdate(
        down=down,
        up=torch.zeros(weight.shape[0], len(down), device=weight.device),
        core=None,
        scale=scale(settings.alpha, settings.rank),
        dropout=settings.dropout,
        trained=trained,
    )


class LowRankPlugin(StrategyPlugin):
    """Trains one low-rank update for each chosen matrix, everything else frozen; merged after the task.

    A strategy says in `make_update`, or in `update_of`, what its update of one matrix is.
    """

    settings: LowRankSettings
    data_parallel = True
    why_none = ""  # said of a matrix that `make_update` leaves alone

    def __init__(self, settings: LowRankSettings) -> None:
        super().__init__(settings)
        self.matrices = tuple(dict.fromkeys([*StrategyPlugin.matrices, *settings.matrices]))
        self.updates: dict[WeightMatrix, LowRankUpdate] = {}
        self._were_trainable: list[nn.Parameter] = []

    def make_update(self, weight: Tensor) -> LowRankUpdate | None:
        """The update of one weight (d_out, d_in) for the coming task, or None if the matrix is to be left alone."""
        raise NotImplementedError

    def update_of(self, matrix: WeightMatrix) -> LowRankUpdate | None:
        """As `make_update`, for a method to which it matters where the matrix is."""
        return self.make_update(matrix.weight().detach())

    # This hook, because one later the optimiser has been made and would never see the new parameters.
    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        clip = strategy.model.clip
        detach(clip)  # what an interrupted task may have left
        self._release()
        self._were_trainable = [parameter for parameter in clip.parameters() if parameter.requires_grad]
        clip.requires_grad_(False)
        self.notes, self.updates = [], {}
        for matrix in weight_matrices(clip, self.settings.towers, self.settings.matrices):
            update = self.update_of(matrix)
            if update is None:
                self.notes.append(f"{matrix.name}: {self.why_none}, skipped")
            else:
                self.updates[matrix] = update
        attach(self.updates)

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        merge(strategy.model.clip, self.updates)
        self.updates = {}
        self._release()

    def _release(self) -> None:
        # Stock plugins that come later (EWC) differentiate the merged model.
        for parameter in self._were_trainable:
            parameter.requires_grad_(True)
        self._were_trainable = []
