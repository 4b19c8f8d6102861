"""Test images that stay on the device, since every state reads them again: at 224 pixels 150 kB each, 14.6 GB for MTIL."""

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.evaluate import EvaluationSet
from strategies.parts.experiences import Pixels


MOST = 0.5  # of the memory that is free on the device


class Resident:
    """A split's images, kept on a device from their first reading on; a `Pixels`."""

    def __init__(self, images: Pixels, device: torch.device) -> None:
        self.images = images
        self.kept = torch.empty(len(images), *images[0].shape, dtype=torch.uint8, device=device)  # (N, 3, S, S)
        self.there = torch.zeros(len(images), dtype=torch.bool)  # on the host

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, places: int | slice) -> Tensor:
        if not self.there[places].all():
            self.kept[places] = self.images[places].to(self.kept.device)
            self.there[places] = True
        return self.kept[places]


def bytes_of(images: Pixels) -> int:
    return len(images) * images[0].nbytes


def resident(tests: Sequence[EvaluationSet], device: torch.device) -> Sequence[EvaluationSet]:
    """The same test sets; on a GPU those are kept there that fit in half of its free memory, the first ones first."""
    if device.type != "cuda":
        return tests
    left = MOST * torch.cuda.mem_get_info(device)[0]
    kept: dict[int, Pixels] = {}  # by id: a repeated task has the same images
    for images, _ in tests:
        if id(images) not in kept:
            fits = bytes_of(images) <= left
            left -= bytes_of(images) if fits else 0
            kept[id(images)] = Resident(images, device) if fits else images
    return [EvaluationSet(kept[id(images)], labels) for images, labels in tests]
