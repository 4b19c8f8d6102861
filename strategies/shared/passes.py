"""Passes of a task's images and prompts through a model besides its training, by which some methods choose directions."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from strategies.clip.classifier import ClipClassifier
from strategies.clip.weight_matrices import WeightMatrix
from strategies.shared.watched import same_everywhere
from strategies.training.loader import Loader, sample


def batches(strategy: Any, data: Any, samples: int | None, *, whole: bool) -> Loader:
    """Returns a loader of images in the order of a task's draw, without repetition.

    Args:
        strategy: the Avalanche strategy that trains, at the current experience; it gives the batch size.
        data: a data set that `strategies.training.loader.Loader` reads.
        samples: the largest number of images; None for all.
        whole: whether a last batch with fewer images is left out. (Where there is no other, it stays.)
    """
    count, size = min(samples or len(data), len(data)), strategy.train_mb_size
    return sample(strategy, data, count - count % size if whole and count > size else count, size)


@torch.no_grad()
def encode_images(strategy: Any, found: Iterable[Sequence[Tensor]]) -> None:
    """Computes the features of images, for those who watch the model; returns nothing.

    Args:
        strategy: the Avalanche strategy that trains.
        found: batches that begin with images (B, 3, S, S) uint8.
    """
    for images, *_ in found:
        strategy.model.encode_images(images.to(strategy.device))


@torch.no_grad()
def encode_prompts(strategy: Any) -> None:
    """Computes the features of the current task's prompts (first template), for those who watch the model.

    The texts have their full length, so a watched text tower computes the padding too.

    Args:
        strategy: the Avalanche strategy that trains, at the current experience.
    """
    for prompts in strategy.model.tokens(strategy.experience.task_label)[0].split(strategy.train_mb_size):
        strategy.model.encode_texts(prompts)


def mean_gradients(
    strategy: Any, matrices: Sequence[WeightMatrix], found: Iterable[Sequence[Tensor]]
) -> dict[str, Tensor]:
    """Returns the mean gradient (d_out, d_in) of each matrix over batches of the current task, by the matrix's name.

    It is that of the cross-entropy over the task's classes, without label smoothing, with the prompts of training. No
    weight changes, and afterwards the same parameters require a gradient as before.

    Args:
        strategy: the Avalanche strategy that trains, at the current experience.
        matrices: the weight matrices, without low-rank updates attached.
        found: batches of images (B, 3, S, S) uint8, labels (B,) int64, and whatever else.
    """
    return gradients(strategy.model, strategy.experience.task_label, matrices, found)


def gradients(
    model: ClipClassifier, task: int, matrices: Sequence[WeightMatrix], found: Iterable[Sequence[Tensor]]
) -> dict[str, Tensor]:
    """Returns what `mean_gradients` does, of any task and outside a training.

    Args:
        model: the classifier.
        task: the task's index.
        matrices: the weight matrices, without low-rank updates attached.
        found: batches of images (B, 3, S, S) uint8, labels (B,) int64, and whatever else.
    """
    device = model.mean.device
    parameters = list(dict.fromkeys(matrix.parameter() for matrix in matrices))
    sums, count = [torch.zeros_like(parameter) for parameter in parameters], 0
    with _learning(model.clip, parameters):
        for images, labels, *_ in found:
            loss = F.cross_entropy(model(images.to(device), task), labels.to(device))  # of logits (B, C)
            torch._foreach_add_(sums, torch.autograd.grad(loss, parameters))
            count += 1
    means = dict(zip(parameters, (total / max(count, 1) for total in sums), strict=True))
    return same_everywhere({matrix.name: matrix.rows(means[matrix.parameter()]).contiguous() for matrix in matrices})


@contextmanager
def _learning(clip: nn.Module, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Context in which these parameters of a model require a gradient, and no others."""
    before = [(parameter, parameter.requires_grad) for parameter in clip.parameters()]
    try:
        clip.requires_grad_(False)
        for parameter in parameters:
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter, required in before:
            parameter.requires_grad_(required)
