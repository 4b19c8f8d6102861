"""Mixtures of adapters beside the MLPs of a CLIP: experts, noisy top-k routers, and how they hang on the blocks.

The mixtures are modules of their own, hooked onto open_clip's blocks: the model's `state_dict` never has them.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from strategies.clip.weight_matrices import blocks


ORIGINAL = -1  # the route of the untouched CLIP
SCALE = 0.1  # on an adapter's output
NOISE_FLOOR = 1e-2  # smallest standard deviation of the gate's noise


class Expert(nn.Module):
    """An adapter: up(dropout(relu(down(x)))), both linear with bias."""

    def __init__(self, dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.down, self.up, self.dropout = nn.Linear(dim, width), nn.Linear(width, dim), dropout

    @torch.no_grad()
    def reset(self) -> None:
        """Kaiming-uniform down, zero up, zero biases: the mixture starts as nothing."""
        down = torch.empty(self.down.weight.shape)  # on the CPU: the same start on every device
        self.down.weight.copy_(nn.init.kaiming_uniform_(down, a=math.sqrt(5)))
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            zero.zero_()

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """x (N, L, d) and gates (N, 1, 1) to gate * adapter(x) (N, L, d)."""
        # The gate acts on the narrow side: there backward keeps `width` figures of a token for it, not d.
        hidden = F.dropout(F.relu(self.down(x)), self.dropout, self.training) * gate  # (N, L, width)
        return F.linear(hidden, self.up.weight) + gate * self.up.bias


class Router(nn.Module):
    """Scores of E experts for a token, and how much noise training puts on them; from zero.

    noisy = x W + n * (softplus(x W_noise) + 0.01), n standard normal (Shazeer et al., arXiv 1701.06538).
    """

    def __init__(self, dim: int, experts: int) -> None:
        super().__init__()
        self.weight, self.noise = nn.Parameter(torch.zeros(dim, experts)), nn.Parameter(torch.zeros(dim, experts))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, d) to scores (B, E), noisy while training."""
        scores = x @ self.weight
        if not self.training:
            return scores
        return scores + torch.randn_like(scores) * (F.softplus(x @ self.noise) + NOISE_FLOOR)


class _AddRows(torch.autograd.Function):
    """out[rows] += added, in place. Torch's own index_add_ keeps `added` for backward, of which it wants the shape alone."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, rows: Tensor, added: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.mark_dirty(out)
        return out.index_add_(0, rows, added)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (rows,) = ctx.saved_tensors
        return grads[0], None, grads[0].index_select(0, rows)


class Mixture(nn.Module):
    """The experts of one block with a router for each task: 0.1 * sum over the top k of gate * adapter(x).

    All tokens of an image or prompt go to the experts that the router chooses for its first token.

    Args:
        dim: d of the block.
        experts: E.
        top_k: experts that compute an image.
        width, dropout: of each expert.

    Attributes:
        route: the task whose router chooses, or `ORIGINAL`: nothing is added.
        frozen: (E,) bool, experts that no longer learn.
        used: (E,) int64, how often each was chosen in the training of the current task.
    """

    frozen: Tensor
    used: Tensor

    def __init__(self, dim: int, experts: int, top_k: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dim, self.top_k, self.route = dim, top_k, ORIGINAL
        self.experts = nn.ModuleList(Expert(dim, width, dropout) for _ in range(experts))
        self.routers = nn.ModuleDict()
        self.register_buffer("frozen", torch.zeros(experts, dtype=torch.bool))
        self.register_buffer("used", torch.zeros(experts, dtype=torch.int64), persistent=False)

    def add_router(self, task: int) -> None:
        router = Router(self.dim, len(self.experts)).to(self.frozen.device)
        self.routers[str(task)] = router.train(self.training)

    def learn(self, task: int) -> None:
        """From here on a new router of `task` and the experts that are not frozen learn, nothing else."""
        self.add_router(task)
        self.route = task
        self.used.zero_()
        self.requires_grad_(False)
        self.routers[str(task)].requires_grad_(True)
        for expert, frozen in zip(self.experts, self.frozen.tolist(), strict=True):
            expert.requires_grad_(not frozen)

    def freeze(self, count: int) -> None:
        """Freezes the `count` experts chosen most in this task's training, for good. One may be frozen already."""
        self.frozen[self.used.topk(min(count, len(self.used))).indices] = True

    def gate(self, first: Tensor) -> tuple[Tensor, Tensor]:
        """First tokens (B, d) to the experts chosen (B, k) int64 and their gates (B, k), which sum to 1."""
        kept, chosen = self.routers[str(self.route)](first).topk(self.top_k)
        return chosen, kept.softmax(dim=1)

    def add_to(self, out: Tensor, x: Tensor) -> Tensor:
        """Adds to a block's output (B, L, d) the mixture of its x (B, L, d), in place. Only the chosen experts compute."""
        chosen, gates = self.gate(x[:, 0])
        chosen = chosen.flatten()  # (B k,)
        counts = chosen.bincount(minlength=len(self.experts))  # (E,)
        if self.training:
            self.used += counts
        order = chosen.argsort(stable=True)  # (B k,), expert by expert
        images, sizes = order // self.top_k, counts.tolist()
        parts = x.index_select(0, images).split(sizes)  # for each expert (n_e, L, d)
        weights = (SCALE * gates.flatten()[order, None, None]).split(sizes)  # for each expert (n_e, 1, 1)
        # In place, one after the other: all results side by side, and a copy of `out`, would be three times what is kept.
        for expert, rows, part, weight in zip(self.experts, images.split(sizes), parts, weights, strict=True):
            # While training an expert without images runs too, on none: its gradient is zero, not missing.
            if len(part) or self.training:
                out = _AddRows.apply(out, rows, expert(part, weight).to(out.dtype))
        return out


def _attach(block: Any, mixture: Mixture) -> None:
    """The block adds the mixture of what enters its second layer norm to its output, unless the route is the original one."""
    held: dict[str, Tensor] = {}

    def keep(_norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if mixture.route != ORIGINAL:
            held["x"] = inputs[0]

    def add(_block: nn.Module, _inputs: Any, out: Tensor) -> Tensor:
        return mixture.add_to(out, held.pop("x")) if mixture.route != ORIGINAL else out

    block.ln_2.register_forward_pre_hook(keep)
    block.register_forward_hook(add)


def attach_mixtures(clip: nn.Module, experts: int, top_k: int, width: int, dropout: float) -> nn.ModuleDict:
    """One mixture for every block of both towers, hooked on; by names such as `image-0`, on the model's device."""
    mixtures = nn.ModuleDict()
    for tower in ("image", "text"):
        for index, block in enumerate(blocks(clip, tower)):
            weight = block.ln_2.weight  # (d,)
            mixture = Mixture(len(weight), experts, top_k, width, dropout).to(weight.device)
            _attach(block, mixture)
            mixtures[f"{tower}-{index}"] = mixture
    return mixtures
