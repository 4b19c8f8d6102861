"""One run in several processes, each with its own device: training data-parallel, evaluation shared out (torch.distributed).

Every process holds the whole model and trains it on its rows of the same global batch; gradients are averaged before each step.
Started by `torchrun`, which sets up nothing by itself; in a single process everything here does nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Share:
    """Which part of a global batch is this process's: rank `rank` of `size`."""

    rank: int = 0
    size: int = 1

    def of(self, items: Sequence[Any]) -> Sequence[Any]:
        """This process's run of a global batch, whose length `size` divides."""
        each = len(items) // self.size
        return items[self.rank * each : (self.rank + 1) * each]


WHOLE = Share()


def share() -> Share:
    """This process's, the whole where there is one process."""
    return Share(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else WHOLE


def average(tensors: Sequence[Tensor]) -> None:
    """Each tensor to its mean over the processes, in place, in one exchange."""
    if not dist.is_initialized():
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def add_up(counts: Tensor) -> Tensor:
    """Sums over the processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(counts)
    return counts


@torch.no_grad()
def same_everywhere(module: nn.Module) -> None:
    """Gives every process the first one's parameters and buffers: what rounds otherwise elsewhere would grow apart unseen."""
    if dist.is_initialized():
        for tensor in [*module.parameters(), *module.buffers()]:
            dist.broadcast(tensor.data, src=0)
