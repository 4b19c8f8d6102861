"""Images of a split, resized once to what the backbone reads, as bytes in memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count

import torch
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, PILToTensor, Resize

from benchmarks.streams import Split


def decode(split: Split, size: int, on_image: Callable[[], None] = lambda: None) -> Tensor:
    """All images of a split as (N, 3, size, size) uint8: shorter side resized (bicubic), centre cropped.

    Both training and testing see this (NuSA-CL trains without augmentation). PIL lets other threads run while it decodes.
    """
    # A square image of the right size passes through both unchanged.
    transform = Compose([Resize(size, InterpolationMode.BICUBIC), CenterCrop(size), PILToTensor()])
    out = torch.empty(len(split), 3, size, size, dtype=torch.uint8)

    def fill(index: int) -> None:
        out[index] = transform(split.read(index))
        on_image()

    with ThreadPoolExecutor(cpu_count()) as pool:
        list(pool.map(fill, range(len(split))))
    return out
