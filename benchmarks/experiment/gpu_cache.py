"""Test images that stay on the device, since every state reads them again: at 224 pixels 150 kB each, 14.6 GB for MTIL."""

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.experiment.evaluation import EvaluationSet
from strategies.clip.classifier import ClipClassifier
from strategies.clip.weight_matrices import root
from strategies.training.pixels import Pixels


# A training may take so many times what the first of its size took: what a method looks back at, gaps between tensors.
MARGIN = 2


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
            read = self.images[places]
            if self.kept.is_cuda:
                read = read.pin_memory()  # else the copy waits for all that the GPU has still to do
            self.kept[places].copy_(read, non_blocking=True)
            self.there[places] = True
        return self.kept[places]


def bytes_of(images: Pixels) -> int:
    return len(images) * images[0].nbytes


def growth(classifier: ClipClassifier, batch_size: int, task: int) -> float:
    """How many times a task's step the largest task's is, by the figures that enter the towers' blocks."""
    image, text = (root(classifier.clip, tower).positional_embedding for tower in ("image", "text"))  # (L, d) each
    prompts = [count * length for count, length in zip(classifier.class_counts, classifier.lengths, strict=True)]
    sizes = [batch_size * image.numel() + tokens * text.shape[1] for tokens in prompts]
    return float(max(sizes) / sizes[task])


def room(device: torch.device, larger: float) -> float:
    """Bytes that test images may take there once a task has been learned; nothing on the CPU, whose memory they come from.

    What a GPU has beside the largest training, reckoned from that one, so that none has to make room later.

    Args:
        larger: how many times the learned task's step the largest is.
    """
    if device.type != "cuda":
        return 0.0
    whole = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return whole - MARGIN * larger * torch.cuda.max_memory_allocated(device)


def resident(tests: Sequence[EvaluationSet], device: torch.device, left: float) -> Sequence[EvaluationSet]:
    """The same test sets; those that fit in the bytes left are kept on the device, the first ones first."""
    kept: dict[int, Pixels] = {}  # by id: a repeated task has the same images
    for images, _ in tests:
        if id(images) not in kept:
            fits = bytes_of(images) <= left
            left -= bytes_of(images) if fits else 0
            kept[id(images)] = Resident(images, device) if fits else images
    return [EvaluationSet(kept[id(images)], labels) for images, labels in tests]
