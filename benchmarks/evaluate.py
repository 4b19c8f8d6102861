"""Accuracy on every task from one pass over the images, with the task known and unknown."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from strategies.parts.classifier import ClipClassifier


BATCH = 128  # the papers' evaluation batch


class EvaluationSet(NamedTuple):
    """Images (N, 3, H, W) uint8 and labels (N,) int64 of one task."""

    images: Tensor
    labels: Tensor


class Accuracies(NamedTuple):
    """Top-1 accuracy in percent, one figure for each task.

    Attributes:
        known: arg-max over the task's own classes (MTIL's protocol).
        unknown: arg-max over the classes of all tasks. A name that several tasks share is one class, whose score is its best.
    """

    known: list[float]
    unknown: list[float]


def name_ids(class_names: Sequence[Sequence[str]]) -> Tensor:
    """(sum of C,) int64: for each class of each task, side by side, the number of its name; equal names, equal numbers."""
    numbers: dict[str, int] = {}
    return torch.tensor([numbers.setdefault(name, len(numbers)) for names in class_names for name in names])


def evaluate(
    classifier: ClipClassifier,
    tests: Sequence[EvaluationSet],
    class_names: Sequence[Sequence[str]],
    device: torch.device,
    on_images: Callable[[int], None] = lambda count: None,
) -> Accuracies:
    """Runs each test image through the image tower once.

    Args:
        classifier: asked only for `union_logits`, so a method may route or swap weights behind it.
        tests, class_names: by task.
        on_images: called with the number of images just done, for progress.
    """
    classifier.eval()
    ids = name_ids(class_names).to(device)
    accuracies = Accuracies([], [])
    first = 0
    for (images, labels), names in zip(tests, class_names, strict=True):
        own = slice(first, first + len(names))
        first = own.stop
        right = torch.zeros(2, dtype=torch.int64, device=device)  # known, unknown
        for x, y in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            logits = classifier.union_logits(x.to(device, non_blocking=True))  # (B, sum of C)
            target = y.to(device)
            right[0] += (logits[:, own].argmax(dim=1) == target).sum()
            right[1] += (ids[logits.argmax(dim=1)] == ids[own][target]).sum()
            on_images(len(x))
        known, unknown = (100 * right.double() / len(labels)).tolist()
        accuracies.known.append(known)
        accuracies.unknown.append(unknown)
    return accuracies
