"""Mixtures of adapters beside the MLPs of a CLIP: experts, noisy top-k routers, and their attachment to the blocks.

The mixtures are modules of their own, attached to open_clip's blocks by hooks, so they are not in the model's
`state_dict`. Source: MoE-Adapters, arXiv 2403.11549.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from strategies.clip.weight_matrices import blocks


ORIGINAL = -1  # the route of the untouched CLIP
SCALE = 0.1  # factor on an adapter's output
NOISE_FLOOR = 1e-2  # smallest standard deviation of the router's noise


class Expert(nn.Module):
    """An adapter of tokens, up(dropout(relu(down(x)))), with linear `down` and `up` that have a bias.

    Args:
        dim: the number of values of a token.
        width: the number of hidden values.
        dropout: the probability of dropping a hidden value while training.
    """

    def __init__(self, dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.down, self.up, self.dropout = nn.Linear(dim, width), nn.Linear(width, dim), dropout

    @torch.no_grad()
    def reset(self) -> None:
        """Makes the adapter's output 0: `down` becomes Kaiming-uniform, `up` and both biases become 0."""
        down = torch.empty(self.down.weight.shape)  # on the CPU, for the same start on every device
        self.down.weight.copy_(nn.init.kaiming_uniform_(down, a=math.sqrt(5)))
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            zero.zero_()

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """Returns gate * adapter(x), (N, L, d).

        Args:
            x: (N, L, d), the L tokens of N images or prompts.
            gate: (N, 1, 1), the factor of each image or prompt.
        """
        # The gate multiplies the hidden values: there its backward pass keeps `width` values of a token, not d.
        hidden = F.dropout(F.relu(self.down(x)), self.dropout, self.training) * gate  # (N, L, width)
        return F.linear(hidden, self.up.weight) + gate * self.up.bias


class Router(nn.Module):
    """Scores each of E experts for a token with d values; in training the scores are noisy.

    noisy = x W + n * (softplus(x W_noise) + 0.01), with n standard normal (Shazeer et al., arXiv 1701.06538). W and
    W_noise (d, E) start at zero.

    Args:
        dim: d.
        experts: E.
    """

    def __init__(self, dim: int, experts: int) -> None:
        super().__init__()
        self.weight, self.noise = nn.Parameter(torch.zeros(dim, experts)), nn.Parameter(torch.zeros(dim, experts))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the scores (B, E) of the E experts for B tokens x (B, d), with noise in training mode."""
        scores = x @ self.weight
        if not self.training:
            return scores
        return scores + torch.randn_like(scores) * (F.softplus(x @ self.noise) + NOISE_FLOOR)


class _AddRows(torch.autograd.Function):
    """out[rows] += added, in place. Torch's own index_add_ keeps `added` for backward, which needs only its shape."""

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
    """The mixture of adapters that is added to one block's output: E adapters (experts), and a router for each task.

    It adds 0.1 * sum over the top k experts of gate * adapter(x), with x the input of the block's second layer norm.
    All tokens of an image or prompt go to the experts that the router chooses for its first token.

    Args:
        dim: d, the number of values of a token.
        experts: E.
        top_k: k, the number of experts that compute an image or prompt.
        width, dropout: the number of hidden values and the dropout probability of each expert.

    Attributes:
        experts: the E experts.
        routers: the router of each task, by the task's index as text.
        route: the index of the task whose router chooses, or `ORIGINAL` (-1, at first), where the mixture adds nothing.
        frozen: (E,) bool, the experts that no longer learn.
        used: (E,) int64, how many images or prompts each expert was chosen for while the current task was trained.
    """

    frozen: Tensor
    used: Tensor

    def __init__(self, dim: int, experts: int, top_k: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dim, self.top_k, self.route = dim, top_k, ORIGINAL
        self.held: Tensor | None = None  # the input of the block's second layer norm, until the block's end
        self.experts = nn.ModuleList(Expert(dim, width, dropout) for _ in range(experts))
        self.routers = nn.ModuleDict()
        self.register_buffer("frozen", torch.zeros(experts, dtype=torch.bool))
        self.register_buffer("used", torch.zeros(experts, dtype=torch.int64), persistent=False)

    def add_router(self, task: int) -> None:
        """Adds a router, with all scores zero, for the task of index `task`."""
        router = Router(self.dim, len(self.experts)).to(self.frozen.device)
        self.routers[str(task)] = router.train(self.training)

    def learn(self, task: int) -> None:
        """Begins a task: adds its router, which chooses from now on, and sets the counts `used` to zero.

        Only this router and the experts that are not frozen are trained.

        Args:
            task: the task's index.
        """
        self.add_router(task)
        self.route = task
        self.used.zero_()
        self.requires_grad_(False)
        self.routers[str(task)].requires_grad_(True)
        for expert, frozen in zip(self.experts, self.frozen.tolist(), strict=True):
            expert.requires_grad_(not frozen)

    def freeze(self, count: int) -> None:
        """Freezes, for good, the experts that were chosen most while the current task was trained.

        Experts among them that are frozen already are not replaced by others.

        Args:
            count: the number of experts.
        """
        self.frozen[self.used.topk(min(count, len(self.used))).indices] = True

    def gate(self, first: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the k experts that the router of task `route` chooses, (B, k) int64, and their gates (B, k).

        The gates of a row sum to 1: they are the softmax of the k largest scores.

        Args:
            first: (B, d), the first token of each of B images or prompts.
        """
        kept, chosen = self.routers[str(self.route)](first).topk(self.top_k)
        return chosen, kept.softmax(dim=1)

    def add_to(self, out: Tensor, x: Tensor) -> Tensor:
        """Adds the mixture's output to a block's output, in place, and returns that.

        Only the chosen experts compute. In training mode the choices are counted in `used`.

        Args:
            out: (B, L, d), the block's output.
            x: (B, L, d), the input of the block's second layer norm.
        """
        chosen, gates = self.gate(x[:, 0])
        chosen = chosen.flatten()  # (B k,)
        counts = chosen.bincount(minlength=len(self.experts))  # (E,)
        if self.training:
            self.used += counts
        order = chosen.argsort(stable=True)  # (B k,), expert by expert
        images, sizes = order // self.top_k, counts.tolist()
        parts = x.index_select(0, images).split(sizes)  # for each expert (n_e, L, d)
        weights = (SCALE * gates.flatten()[order, None, None]).split(sizes)  # for each expert (n_e, 1, 1)
        # In place, one expert after the other: all results at once, and a copy of `out`, would take thrice the memory.
        for expert, rows, part, weight in zip(self.experts, images.split(sizes), parts, weights, strict=True):
            # In training an expert without images runs on an empty batch, so that its gradient is zero, not missing.
            if len(part) or self.training:
                out = _AddRows.apply(out, rows, expert(part, weight).to(out.dtype))
        return out


class _Hook:
    """A hook that acts unless the mixture's route is `ORIGINAL`. Where it doesn't, packed texts are welcome too.

    An image's first token is the one that the router sees and that is read; of a text, they are two.
    """

    takes_one_token = True

    def __init__(self, mixture: Mixture, act: Callable[[Mixture, Any, Any], Tensor | None]) -> None:
        self.mixture, self.act = mixture, act

    @property
    def takes_packed(self) -> bool:
        return self.mixture.route == ORIGINAL

    def __call__(self, module: nn.Module, inputs: Any, output: Any = None) -> Any:
        return None if self.mixture.route == ORIGINAL else self.act(self.mixture, inputs, output)


def _keep(mixture: Mixture, inputs: Any, _: Any) -> None:
    mixture.held = inputs[0]


def _add(mixture: Mixture, _: Any, output: Tensor) -> Tensor:
    held, mixture.held = mixture.held, None
    assert held is not None, "the second layer norm comes before the block's end"
    return mixture.add_to(output, held)


def _attach(block: Any, mixture: Mixture) -> None:
    """Makes a block add to its output the mixture of its second layer norm's input, unless the route is `ORIGINAL`."""
    block.ln_2.register_forward_pre_hook(_Hook(mixture, _keep))
    block.register_forward_hook(_Hook(mixture, _add))


def attach_mixtures(clip: nn.Module, experts: int, top_k: int, width: int, dropout: float) -> nn.ModuleDict:
    """Attaches a mixture of adapters to every block of both towers; returns the mixtures by names such as `image-0`.

    A name has the tower (`image` or `text`) and the index of the block. The mixtures are on the model's device. They
    add nothing to the model's outputs until their `route` is set.

    Args:
        clip: the open_clip model.
        experts: the number of experts in each mixture.
        top_k: the number of experts that compute an image or prompt.
        width: the number of hidden values of an expert.
        dropout: the probability of dropping a hidden value while training.
    """
    mixtures = nn.ModuleDict()
    for tower in ("image", "text"):
        for index, block in enumerate(blocks(clip, tower)):
            weight = block.ln_2.weight  # (d,)
            mixture = Mixture(len(weight), experts, top_k, width, dropout).to(weight.device)
            _attach(block, mixture)
            mixtures[f"{tower}-{index}"] = mixture
    return mixtures
