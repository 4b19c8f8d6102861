"""Task-aware, task-agnostic and class-incremental accuracy on every task, from one pass over the images."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.config.errors import Diverged
from strategies.clip.classifier import ClipClassifier
from strategies.numerics.data_parallel import add_up, share
from strategies.training.pixels import Pixels


BATCH = 128  # the papers' evaluation batch
# Task, which of its images, and their scores on the device: over the classes of all tasks (B, sum of C) and of this one (B, C).
Watch = Callable[[int, slice, Tensor, Tensor], None]
Scores = Callable[[range], Tensor]  # tasks that follow one another to the scores (B, C) over their classes


class EvaluationSet(NamedTuple):
    """The test set of one task.

    Attributes:
        images: N images (3, H, W) uint8.
        labels: (N,) int64, the class of each image as an index into the task's class names.
    """

    images: Pixels
    labels: Tensor


class Accuracies(NamedTuple):
    """Top-1 accuracy in percent, one value for each task, in learning order.

    A class name that several tasks share is one class wherever classes of several tasks compete; its score is the
    maximum over those tasks.

    Attributes:
        known: task-aware: arg-max over the task's own classes (MTIL's protocol).
        unknown: task-agnostic: arg-max over the classes of all tasks (X-TAIL's protocol).
        seen: class-incremental: arg-max over the classes of the tasks learned so far; None for tasks not learned yet.
    """

    known: list[float]
    unknown: list[float]
    seen: list[float | None]


def name_ids(class_names: Sequence[Sequence[str]]) -> Tensor:
    """Returns one number for each class of each task, task after task; equal names have equal numbers.

    Args:
        class_names: for each task the names of its classes, in label order.

    Returns:
        The numbers, (total number of classes,) int64.
    """
    numbers: dict[str, int] = {}
    return torch.tensor([numbers.setdefault(name, len(numbers)) for names in class_names for name in names])


def batches(images: Pixels, labels: Tensor, device: torch.device) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yields this process's batches, each read while the one before it is in the model: which images they are, the images
    (B, 3, H, W) uint8, and their labels (B,), on the CPU.

    Args:
        images: N images (3, H, W) uint8.
        labels: (N,) int64.
        device: where the batches will be needed.
    """
    own = share()
    parts = [slice(first, first + BATCH) for first in range(0, len(images), BATCH)][own.rank :: own.size]

    def read(part: slice) -> tuple[Tensor, Tensor]:
        batch = images[part], labels[part]
        return tuple(each.pin_memory() if device.type == "cuda" and not each.is_cuda else each for each in batch)  # type: ignore[return-value]

    ahead = [_reader().submit(read, part) for part in parts[:1]]
    for done, part in zip(parts, [*parts[1:], None], strict=False):
        batch = ahead.pop().result()
        if part is not None:
            ahead.append(_reader().submit(read, part))
        yield done, *batch


@cache
def _reader() -> ThreadPoolExecutor:
    """Returns the thread that reads the next batch."""
    return ThreadPoolExecutor(1)


class _Counter:
    """Counts images without scores, and right answers under the three rules, the last of them for each of S states.

    Args:
        class_names: by task.
        states: the S numbers of tasks learned.
    """

    def __init__(self, class_names: Sequence[Sequence[str]], states: Sequence[int], device: torch.device) -> None:
        self.ids, self.states = name_ids(class_names).to(device), states
        ends = torch.tensor([len(names) for names in class_names]).cumsum(dim=0).tolist()
        self.own = [slice(end - len(names), end) for end, names in zip(ends, class_names, strict=True)]

    def count(self, scores: Scores, union: Tensor, own: Tensor, target: Tensor, task: int) -> Tensor:
        """Counts (3 + S,) of images of one task: with a score that is NaN, and answered right: known, unknown, seen in each
        state.

        Args:
            scores: gives the images' scores among the classes of some tasks.
            union, own: those of all tasks (B, sum of C), and of the images' own (B, C).
            target: (B,), the labels.
            task: the images' task.
        """
        wanted = self.ids[self.own[task]][target]  # (B,)
        known = (own.argmax(dim=1) == target).sum()
        unknown = (self.ids[union.argmax(dim=1)] == wanted).sum()
        seen = [  # the classes of learned tasks come first
            (self.ids[scores(range(state)).argmax(dim=1)] == wanted).sum() if state > task else torch.zeros_like(known)
            for state in self.states
        ]
        return torch.stack([union.isnan().any(dim=1).sum(), known, unknown, *seen])


def evaluate(
    classifier: ClipClassifier,
    tests: Sequence[EvaluationSet],
    class_names: Sequence[Sequence[str]],
    device: torch.device,
    learned: int = 0,
    on_images: Callable[[int], None] = lambda count: None,
    watch: Watch | None = None,
) -> Accuracies:
    """Returns the accuracies of a classifier on all tasks; each test image passes through the image tower once.

    Args:
        classifier, tests, class_names, device, on_images, watch: as for `evaluate_states`.
        learned: number of tasks learned so far; they are the first ones.
    """
    (found,) = evaluate_states(classifier, tests, class_names, device, [learned], on_images, watch)
    return found


def evaluate_states(
    classifier: ClipClassifier,
    tests: Sequence[EvaluationSet],
    class_names: Sequence[Sequence[str]],
    device: torch.device,
    states: Sequence[int],
    on_images: Callable[[int], None] = lambda count: None,
    watch: Watch | None = None,
) -> list[Accuracies]:
    """Returns the accuracies that one classifier has on all tasks in each of several states, from one pass over the images.

    The states differ only in which tasks' classes count as seen: of a model that no task changes.

    Args:
        classifier: only its `scored` is called, so a method may route inputs, swap weights or score anew behind it.
        tests: test images and labels of each task, in learning order. A test set that occurs twice is evaluated once.
        class_names: for each task the names of its classes, in label order.
        device: where the classifier is.
        states: for each state the number of tasks learned; they are the first ones.
        on_images: called with the number of images just evaluated, for progress.
        watch: called with the scores of each batch of this process; None for nobody. With it, each test set is evaluated
            as often as it occurs.

    Raises:
        Diverged: a score is NaN, among which there is no best.
    """
    classifier.eval()
    counter = _Counter(class_names, states, device)
    counts: list[Tensor] = []  # for each task (3 + S,), on the device: the host waits for none of them
    for task, (images, labels) in enumerate(tests):
        first = next(other for other, test in enumerate(tests) if test.images is images)
        if first < task and class_names[first] == class_names[task] and watch is None:
            counts.append(counts[first])  # a repeated task; where it counts as seen, so does its first turn
            on_images(len(labels))
            continue
        counted = torch.zeros(3 + len(states), dtype=torch.int64, device=device)
        for part, x, y in batches(images, labels, device):
            scores = classifier.scored(x.to(device, non_blocking=True))
            union, own = scores(range(len(tests))), scores(range(task, task + 1))  # (B, sum of C), (B, C)
            if watch:
                watch(task, part, union, own)
            counted += counter.count(scores, union, own, y.to(device, non_blocking=True), task)
            on_images(share().size * len(x))
        counts.append(counted)
    lengths = torch.tensor([len(labels) for _, labels in tests], device=device)
    unscored, *total = add_up(torch.stack(counts)).T  # (T,), 2 + S times (T,)
    _check_scores(unscored.tolist(), states[0])
    known, unknown, *seen = (100 * torch.stack(total).double() / lengths).tolist()
    return [
        Accuracies(known, unknown, [figure if task < state else None for task, figure in enumerate(row)])
        for state, row in zip(states, seen, strict=True)
    ]


def _check_scores(unscored: list[int], learned: int) -> None:
    """Raises Diverged if there are images without scores, given their number by task."""
    for task, count in enumerate(unscored, 1):
        if count:
            raise Diverged(
                f"state {learned}: the scores of {count} test images of task {task} are not numbers (NaN), as of weights too "
                "large to compute with; a smaller rate or factor of the update may help (--lr, --alpha, --scale)"
            )
