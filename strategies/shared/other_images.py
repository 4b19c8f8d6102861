"""Images that need no data besides a batch: crops of it, mixtures of its images, noise in its shape."""

from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms.v2 import RandomResizedCrop


Kind = Literal["crops", "mixtures", "noise"]


def other_images(kind: Kind, batch: Tensor) -> Tensor:
    """Returns images (B, 3, S, S) uint8 made of a batch of the same shape. The draws are those of torch's generator of the CPU.

    Args:
        kind: `crops` for one random part of all images, a quarter of their area to all of it, resized to S; `mixtures` for
            w x + (1 - w) x' with each image x, another one x' of the batch, and w uniform in 0..1; `noise` for uniform
            random values.
        batch: (B, 3, S, S) uint8.
    """
    if kind == "crops":
        return RandomResizedCrop(batch.shape[-2:], scale=(0.25, 1.0), antialias=True)(batch)
    if kind == "noise":
        return torch.randint(0, 256, batch.shape, dtype=torch.uint8).to(batch.device)
    share = torch.rand(len(batch), 1, 1, 1).to(batch.device)
    others = batch[torch.randperm(len(batch)).to(batch.device)]
    return (share * batch + (1 - share) * others).round().to(torch.uint8)
