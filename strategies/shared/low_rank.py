"""Low-rank updates of attention and MLP matrices, which are trained during a task and merged into the weights after it.

While a task is trained, each adapted attention module is replaced by an `AdaptedAttention`. Wrapping its linear layers
would not do: open_clip keeps q, k and v in one matrix, and reads the output projection's weight without calling the
layer, while dropout of an update acts on the layer's input.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from strategies.base import StrategyPlugin
from strategies.clip.attention import LinearMap, Mask, attend, attend_once, projections
from strategies.clip.weight_matrices import WeightMatrix, blocks, weight_matrices
from strategies.numerics.data_parallel import WHOLE, share
from strategies.numerics.precision import full_precision
from strategies.shared.fused_low_rank import Factors, Part, adapted_linear, after_dropout, left
from strategies.shared.settings import LowRankSettings, UpdateSettings


class LowRankUpdate(nn.Module):
    """A low-rank update dW = scale * up @ core @ down of a weight (d_out, d_in), or scale * up @ down without a core.

    Args:
        down: (r, d_in), its initial value.
        up: (d_out, r), its initial value.
        core: (r, r), its initial value, or None.
        scale: the factor on the product.
        dropout: the probability of dropping a value of the layer's input while training.
        trained: names of the factors that are parameters, of `down`, `up` and `core`; the others are frozen buffers.

    Attributes:
        share: the part of each global batch that this process computes: the whole batch, unless `attach` sets another.
        on: whether the model computes with the update; within `switched_off` it does not.
    """

    takes_one_token = takes_packed = True
    on = True
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
        """Returns the update as pairs of a `Part` (rows, scale, dropout) and its factors (down, core, up).

        Each pair stands for scale * up @ core @ down, added to the rows of a weight; dW is their sum. By default there
        is one pair.

        Args:
            first: the first of the weight's rows that the update covers; it covers d_out rows.
        """
        rows = slice(first, first + len(self.up))
        dropout = self.dropout if self.training else 0.0
        return [(Part(rows, self.scale, dropout, self.share), (self.down, self.core, self.up))]

    def delta(self) -> Tensor:
        """Returns dW (d_out, d_in), without dropout."""
        each = (part.scale * (left(up, core) @ down) for part, (down, core, up) in self.terms(0))
        return reduce(torch.add, each)


def adapted(x: Tensor, weight: Tensor, bias: Tensor | None, updates: Mapping[int, Any]) -> Tensor:
    """Returns the outputs (..., d_out) of a linear layer with low-rank updates: (W + dW) x + bias.

    Args:
        x: (..., d_in), the inputs.
        weight, bias: the layer's, (d_out, d_in) and (d_out,) or None.
        updates: the `LowRankUpdate`s; the key is the first row of the weight that the update covers.
    """
    terms = [term for first, update in updates.items() if update.on for term in update.terms(first)]
    return adapted_linear(x, weight, bias, terms)


class AdaptedAttention(nn.Module):
    """Self-attention with low-rank updates added to some of its q, k, v and o projections.

    Args:
        base: open_clip's attention, batch first. Its weights are used, not copied.
        updates: the `LowRankUpdate`s by the projection's name, `q`, `k`, `v` or `o`.

    Attributes:
        takes_one_token: True: it can compute one token's attention to others.
        takes_packed: True: it can compute packed texts.
    """

    takes_one_token = takes_packed = True

    def __init__(self, base: nn.MultiheadAttention, updates: Mapping[str, LowRankUpdate]) -> None:
        super().__init__()
        self.base, self.updates = base, nn.ModuleDict(updates)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False,
        attn_mask: Mask = None,
    ) -> tuple[Tensor, None]:  # fmt: skip
        """Returns the attention's output (B, L, d) or (B, 1, d), and None in place of the attention weights.

        B counts images or texts, L their tokens, and d the values of a token.

        Args:
            query, key, value, need_weights, attn_mask: as in `SelfAttention`.
        """
        mixed = self._all(query, attn_mask) if query.shape == key.shape else self._one(query, key, attn_mask)
        base, outward = self.base, {0: self.updates["o"]} if "o" in self.updates else {}
        return adapted(mixed, base.out_proj.weight, base.out_proj.bias, outward), None

    def _all(self, x: Tensor, mask: Mask) -> Tensor:
        base = self.base
        width = base.embed_dim
        inward = {place * width: self.updates[name] for place, name in enumerate("qkv") if name in self.updates}
        projected = adapted(x, base.in_proj_weight, base.in_proj_bias, inward)  # (B, L, 3 d)
        return attend(projected, base.num_heads, mask)  # (B, L, d)

    def _one(self, query: Tensor, x: Tensor, mask: Any) -> Tensor:
        (q, k, v), (q_bias, v_bias) = projections(self.base)
        projected = adapted(query, q, q_bias, {0: self.updates["q"]} if "q" in self.updates else {})  # (B, 1, d)
        keys, values = self._linear("k", k, x), self._linear("v", v, x)
        return attend_once(projected, keys, values, v_bias, self.base.num_heads, mask)  # (B, 1, d)

    def _linear(self, name: str, weight: Tensor, x: Tensor) -> list[LinearMap]:
        """The frozen projection and its update as linear maps of the tokens x (B, L, d), with dropout drawn."""
        updates: Any = self.updates
        each = [
            (after_dropout(x, part), (part.gain * up, down) if core is None else (part.gain * up, core, down))
            for part, (down, core, up) in (updates[name].terms(0) if name in updates and updates[name].on else ())
        ]
        return [(x, (weight,)), *each]


class AdaptedLinear(nn.Module):
    """A linear layer with a low-rank update added; the layer's weights are used, not copied.

    Args:
        base: the layer, with a frozen weight (d_out, d_in).
        update: the update of its weight.
    """

    takes_one_token = takes_packed = True

    def __init__(self, base: nn.Linear, update: LowRankUpdate) -> None:
        super().__init__()
        self.base, self.update = base, update

    @property
    def weight(self) -> Tensor:
        """The frozen weight (d_out, d_in); open_clip reads the dtype of the MLP's first layer from it."""
        return self.base.weight

    def forward(self, x: Tensor) -> Tensor:
        """Returns the outputs (..., d_out) of the layer with its update, for inputs x (..., d_in)."""
        return adapted(x, self.base.weight, self.base.bias, {0: self.update})


def attach(updates: Mapping[WeightMatrix, LowRankUpdate]) -> None:
    """Adds low-rank updates to a model, which computes with them from now on.

    Args:
        updates: each update by the matrix of the model that it belongs to.
    """
    grouped: dict[Any, dict[str, LowRankUpdate]] = {}
    for place, update in updates.items():
        if place.tower == "image":
            update.share = share()  # the text tower has none: every process computes all prompts
        grouped.setdefault(place.module, {})[place.matrix] = update
    for block, by_matrix in grouped.items():
        for matrix, layer in (("fc", "c_fc"), ("proj", "c_proj")):
            if matrix in by_matrix:
                setattr(block.mlp, layer, AdaptedLinear(getattr(block.mlp, layer), by_matrix.pop(matrix)))
        if by_matrix:
            block.attn = AdaptedAttention(block.attn, by_matrix)


@contextmanager
def switched_off(updates: Iterable[LowRankUpdate]) -> Iterator[None]:
    """Context in which a model computes without updates that are attached to it: as it did before the task.

    Args:
        updates: the updates.
    """
    updates = list(updates)
    for update in updates:
        update.on = False
    try:
        yield
    finally:
        for update in updates:
            update.on = True


def detach(clip: nn.Module) -> None:
    """Removes all updates from an open_clip model `clip` without merging them; does nothing where there are none."""
    for tower in ("image", "text"):
        for block in blocks(clip, tower):
            if isinstance(block.attn, AdaptedAttention):
                block.attn = block.attn.base
            for layer in ("c_fc", "c_proj"):
                if isinstance(getattr(block.mlp, layer), AdaptedLinear):
                    setattr(block.mlp, layer, getattr(block.mlp, layer).base)


@torch.no_grad()
def merge(clip: nn.Module, updates: Mapping[WeightMatrix, LowRankUpdate]) -> None:
    """Adds each update to its weight, W <- W + dW in float32, and removes the updates from the model.

    Args:
        clip: the open_clip model.
        updates: each update by the matrix of the model that it belongs to.
    """
    detach(clip)
    with full_precision():
        for matrix, update in updates.items():
            matrix.weight().add_(update.delta())


def largest(settings: UpdateSettings, weight: Tensor) -> int:
    """Returns the largest rank of an update of a weight: the setting `rank`, or the weight's own rank where it is smaller.

    Args:
        settings: they give `rank`.
        weight: (d_out, d_in), of a rank of at most min(d_out, d_in).
    """
    return min(settings.rank, *weight.shape)


def scale(settings: LowRankSettings, weight: Tensor) -> float:
    """Returns alpha / sqrt(rank), the rank-stabilised factor on an update's product, as in the released NuSA-CL code.

    The rank is the setting's, or min(d_out, d_in) where that is smaller. It is the same where a method finds fewer
    directions than that.

    Args:
        settings: they give `alpha` and `rank`.
        weight: (d_out, d_in); only its shape is used.
    """
    return settings.alpha / math.sqrt(largest(settings, weight))


def kaiming(weight: Tensor, settings: UpdateSettings) -> Tensor:
    """Returns LoRA's initial `down` (r, d_in) for a weight: Kaiming-uniform with a = sqrt(5).

    r is the setting `rank`, or min(d_out, d_in) where that is smaller. It is drawn on the CPU from torch's global
    generator.

    Args:
        weight: (d_out, d_in); only shape and device are used.
        settings: they give `rank`.
    """
    # Drawn on the CPU, so that the start is the same on every device.
    drawn = torch.empty(largest(settings, weight), weight.shape[1])  # (r, d_in)
    return nn.init.kaiming_uniform_(drawn, a=math.sqrt(5)).to(weight.device)


def from_zero(weight: Tensor, down: Tensor, settings: LowRankSettings, trained: tuple[str, ...]) -> LowRankUpdate:
    """Returns an update of a weight (d_out, d_in) whose `up` (d_out, r) is zero, so that dW starts at 0.

    The update is dW = alpha / sqrt(rank) * up @ down.

    Args:
        weight: the weight; only shape and device are used.
        down: (r, d_in), the initial value of the other factor.
        settings: they give `alpha` and `rank`, hence the scale, and the dropout.
        trained: names of the factors that are trained, of `down` and `up`.
    """
    return LowRankUpdate(
        down=down,
        up=torch.zeros(weight.shape[0], len(down), device=weight.device),
        core=None,
        scale=scale(settings, weight),
        dropout=settings.dropout,
        trained=trained,
    )


def between(up: Tensor, down: Tensor, weight: Tensor, settings: LowRankSettings) -> LowRankUpdate:
    """Returns an update of a weight (d_out, d_in) of which only a core between two frozen factors is trained, from dW = 0.

    The update is dW = alpha / sqrt(rank) * up @ core @ down, with `core` (r, r).

    Args:
        up: (d_out, r).
        down: (r, d_in).
        weight: the weight; only shape and device are used.
        settings: they give `alpha` and `rank`, hence the scale, and the dropout.
    """
    core = torch.zeros(len(down), len(down), device=weight.device)  # (r, r)
    return LowRankUpdate(down, up, core, scale=scale(settings, weight), dropout=settings.dropout, trained=("core",))


class UpdatePlugin(StrategyPlugin):
    """Base of methods that train one low-rank update for each chosen matrix, and merge it after the task.

    The settings `towers` and `matrices` choose. Everything else is frozen. A subclass defines the update of a matrix in
    `make_update` or in `update_of`.

    Attributes:
        updates: the current task's updates, a dict by `WeightMatrix`; empty between tasks.
        why_none: the reason given in `notes` for a matrix that gets no update.
        limited_by: directions of which a matrix may have fewer than the setting `rank`, named in `notes` where the rank
            is cut to their number, for instance `null directions`; empty if the matrix's size alone limits the rank.
    """

    settings: UpdateSettings
    data_parallel = True
    why_none = ""
    limited_by = ""

    def __init__(self, settings: UpdateSettings) -> None:
        super().__init__(settings)
        self.matrices = tuple(dict.fromkeys([*StrategyPlugin.matrices, *settings.matrices]))
        self.updates: dict[WeightMatrix, LowRankUpdate] = {}
        self._were_trainable: list[nn.Parameter] = []
        self._cut_said = ""

    def make_update(self, weight: Tensor) -> LowRankUpdate | None:
        """Returns the update of a weight for the coming task, or None if the weight gets none.

        Args:
            weight: (d_out, d_in), the weight to be updated, with the updates of earlier tasks merged.

        Raises:
            NotImplementedError: the subclass defines neither this method nor `update_of`.
        """
        raise NotImplementedError

    def update_of(self, matrix: WeightMatrix) -> LowRankUpdate | None:
        """Returns the update of a matrix for the coming task, or None if the matrix is to stay as it is.

        By default it is what `make_update` returns for the matrix's weight. Methods for which the matrix's place in the
        model matters override this method instead.

        Args:
            matrix: the weight matrix, with its tower and block.
        """
        return self.make_update(matrix.weight().detach())

    # At the next hook it would be too late: the optimiser exists by then, and would never see the new parameters.
    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        clip = strategy.model.clip
        detach(clip)  # updates that an interrupted task may have left
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
        if (cut := self._cut()) != self._cut_said:
            self.notes += [cut] if cut else []
            self._cut_said = cut
        attach(self.updates)

    def _cut(self) -> str:
        """Returns a line about updates whose rank is below the setting, as the matrix has no more; empty for none."""
        found: dict[str, list[int]] = {}
        for matrix, update in self.updates.items():
            rank, own = len(update.down), min(matrix.weight().shape)
            limit = "directions" if rank == own else self.limited_by
            if rank < self.settings.rank and limit:
                found.setdefault(limit, []).append(rank)
        parts = [
            f"to {_span(ranks)} in {len(ranks)} of {len(self.updates)} matrices, which have no more {limit}"
            for limit, ranks in found.items()
        ]
        return f"rank {self.settings.rank} is cut {'; '.join(parts)}" if parts else ""

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        merge(strategy.model.clip, self.updates)
        self.updates = {}
        self._release()

    def _release(self) -> None:
        # Stock plugins that come later (EWC) differentiate the merged model.
        for parameter in self._were_trainable:
            parameter.requires_grad_(True)
        self._were_trainable = []


class LowRankPlugin(UpdatePlugin):
    """Base of those methods whose updates have the scale alpha / sqrt(rank) and dropout (see `LowRankSettings`)."""

    settings: LowRankSettings


def _span(ranks: list[int]) -> str:
    low, high = min(ranks), max(ranks)
    return str(low) if low == high else f"{low} to {high}"
