"""One run in several processes, each with its own device (torch.distributed): data-parallel training and evaluation.

Every process holds the whole model and trains it on its own part of the same global batch; gradients are averaged
before each step. `torchrun` starts the processes, and the harness sets up the process group. In a single process, all
functions here leave their arguments unchanged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Share:
    """The part of every global batch that one process computes.

    Attributes:
        rank: the number of the part, from 0.
        size: the number of equal parts, one for each process.
    """

    rank: int = 0
    size: int = 1

    def of(self, items: Sequence[Any]) -> Sequence[Any]:
        """Returns this process's contiguous part of a global batch.

        Args:
            items: the global batch; its length must be a multiple of `size`.
        """
        each = len(items) // self.size
        return items[self.rank * each : (self.rank + 1) * each]


WHOLE = Share()


def share() -> Share:
    """Returns the part of each batch that this process computes: the whole batch where there is only one process."""
    return Share(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else WHOLE


def average(tensors: Sequence[Tensor]) -> None:
    """Replaces each tensor by its mean over the processes, in place; does nothing in a run of one process.

    Args:
        tensors: the same in number and shape in every process; all are sent in one all-reduce.
    """
    if not dist.is_initialized():
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def add_up(counts: Tensor) -> Tensor:
    """Replaces a tensor by its sum over the processes, in place, and returns it; unchanged in a run of one process.

    Args:
        counts: a tensor of the same shape in every process.
    """
    if dist.is_initialized():
        dist.all_reduce(counts)
    return counts


@torch.no_grad()
def same_everywhere(module: nn.Module) -> None:
    """Gives every process the parameters and buffers that a module has in the first process, in place.

    Devices may round differently, so that the copies of the model would otherwise drift apart unnoticed.

    Args:
        module: this process's copy of the module.
    """
    for tensor in [*module.parameters(), *module.buffers()]:
        from_first(tensor.data)


def from_first(tensor: Tensor) -> None:
    """Replaces a tensor by that of the first process, in place; does nothing in a run of one process.

    Args:
        tensor: a tensor of the same shape in every process.
    """
    if dist.is_initialized():
        dist.broadcast(tensor, src=0)
