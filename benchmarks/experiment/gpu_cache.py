"""Test images kept in GPU memory, since they are read after every task: 150 kB each at 224 pixels, 14.6 GB for MTIL."""

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.experiment.evaluation import EvaluationSet
from strategies.clip.classifier import ClipClassifier
from strategies.clip.packed import pack
from strategies.clip.prompts import ends
from strategies.clip.weight_matrices import root
from strategies.training.pixels import Pixels


# Later tasks may need this many times the first task's memory: old tasks' data of a method, fragmentation.
MARGIN = 2


class Resident:
    """The images of one task that stay on a device once they have been read.

    An index gives one image (3, S, S) uint8, a slice gives images (B, 3, S, S), both on that device.

    Args:
        images: the N images to read, for instance from a file.
        device: where they are kept; memory for all N, (N, 3, S, S) uint8, is allocated at once.
    """

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
                read = read.pin_memory()  # otherwise the copy waits for all queued work of the GPU
            self.kept[places].copy_(read, non_blocking=True)
            self.there[places] = True
        return self.kept[places]


def bytes_of(images: Pixels) -> int:
    """Returns the size in bytes, N * 3 * S * S, of N images (3, S, S) uint8; there must be at least one."""
    return len(images) * images[0].nbytes


def growth(classifier: ClipClassifier, batch_size: int, task: int) -> float:
    """Returns how many times as large a training step of the largest task may be as one of a given task, at least 1.

    The size of a step is estimated as the number of values that enter the transformer blocks of both towers:
    `batch_size` images, and one prompt for each class of the task. For the largest task all prompts count to the end of
    the longest, for the given one only tokens that every method has to compute.

    Args:
        classifier: the model, which knows the prompts of all tasks.
        batch_size: training images in a step.
        task: the index of the given task.
    """
    image, text = (root(classifier.clip, tower).positional_embedding for tower in ("image", "text"))  # (L, d) each
    most = max(count * length for count, length in zip(classifier.class_counts, classifier.lengths, strict=True))
    prompts = classifier.tokens(task)[0]  # (C, L)
    found = ends(classifier.clip, prompts)
    least = prompts.numel() if found is None else len(pack(prompts, found, share=True).tokens)
    images = batch_size * image.numel()
    return float((images + most * text.shape[1]) / (images + least * text.shape[1]))


def room(device: torch.device, larger: float) -> float:
    """Returns how many bytes of test images the device can hold; 0 on the CPU, where the images are in memory already.

    The result is the GPU's free memory less an estimate of what training on the largest task takes; it may be negative.
    Call it after the first task that is trained: the estimate is 2 * `larger` * the peak of GPU memory so far.

    Args:
        device: the device of the model.
        larger: the result of `growth` for this task: size of a step of the largest task / of this task.
    """
    if device.type != "cuda":
        return 0.0
    whole = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return whole - MARGIN * larger * torch.cuda.max_memory_allocated(device)


def resident(tests: Sequence[EvaluationSet], device: torch.device, left: float) -> Sequence[EvaluationSet]:
    """Returns the same test sets, but those that fit into the free memory of a device keep their images there.

    Test sets take the memory in their order; one that no longer fits is returned unchanged. Those that fit have their
    images as `Resident`, which copies them to the device when they are first read.

    Args:
        tests: the test set of each task; a repeated task has the same images, which are kept once.
        device: where the images are kept.
        left: how many bytes of images the device can hold.
    """
    kept: dict[int, Pixels] = {}  # by id: a repeated task has the same images
    for images, _ in tests:
        if id(images) not in kept:
            fits = bytes_of(images) <= left
            left -= bytes_of(images) if fits else 0
            kept[id(images)] = Resident(images, device) if fits else images
    return [EvaluationSet(kept[id(images)], labels) for images, labels in tests]
