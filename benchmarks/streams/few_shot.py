"""Few-shot training: a fixed number of training images of each class, drawn in a reproducible way.

The draws of papers cannot be reproduced. MoE-Adapters and NuSA-CL use the first k images of each class in one shuffled
pass over the training loader, so the draw depends on the loader's seed and on everything drawn before. CoOp's are
pickles, which run code when they are read, and X-TAIL's come from the state of Python's random numbers. Here the draw
depends only on the seed, the data set and the class: it is the same in every order of tasks and for every partition of
the classes into tasks.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.config.errors import UserError
from benchmarks.images.sets import Split
from benchmarks.streams.base import Stream, Task


def few_shot(stream: Stream, shots: int, seed: int) -> Stream:
    """Returns the stream with `shots` training images of each class of each task; test sets are unchanged.

    They are drawn at random, without replacement. A class with fewer images keeps all of them, as in CoOp's few-shot
    code (in MTIL only Flowers, 10 each, at 16 shots). Tasks that share a training set get the same images.

    Args:
        stream: the stream with all training images.
        shots: number of training images of each class.
        seed: the seed of the draw, which also depends on the names of data set and class.

    Raises:
        UserError: no class has that many images; the message names the largest.
    """
    count, dataset, name = max(_sizes(stream))
    if count < shots:
        raise UserError(
            f'--shots {shots}: no class has so many training images; the largest, "{name}" of {dataset}, has {count}'
        )
    drawn: dict[int, Split] = {}  # by id of the whole split, which the stream keeps alive
    for task in stream.tasks:
        if id(task.train) not in drawn:
            drawn[id(task.train)] = task.train.take(draw(task, lambda count: min(shots, count), seed))
    return replace(stream, tasks=tuple(replace(task, train=drawn[id(task.train)]) for task in stream.tasks))


def short(stream: Stream, shots: int) -> list[str]:
    """Returns one line of text for each data set in which some classes have fewer training images than wanted.

    It says how many classes these are, and their smallest number of images.

    Args:
        stream: the stream with all training images.
        shots: number of training images wanted of each class.
    """
    lacking: dict[str, list[int]] = {}
    for count, dataset, _ in sorted(set(_sizes(stream))):
        if count < shots:
            lacking.setdefault(dataset, []).append(count)
    return [
        f"{dataset}: {len(counts)} classes have fewer than {shots} training images (from {min(counts)}); all of theirs are used"
        for dataset, counts in lacking.items()
    ]


def _sizes(stream: Stream) -> list[tuple[int, str, str]]:
    """Returns the number of training images, the data set and the name of each class of each task."""
    return [
        (count, task.source.dataset, name)
        for task in stream.tasks
        for count, name in zip(_counts(task).tolist(), task.class_names, strict=True)
    ]


def _counts(task: Task) -> np.ndarray:
    """(C,) int64: training images of each class."""
    return np.bincount(task.train.labels, minlength=len(task.class_names))


def draw(task: Task, number: Callable[[int], int], seed: int, *, purpose: str = "") -> np.ndarray:
    """Returns which training images of a task are drawn, at random and without replacement, class by class.

    Args:
        task: the task.
        number: returns how many are drawn of a class, from the number of its training images.
        seed: the seed of the draw, which also depends on the names of data set and class.
        purpose: a word that makes the draw another one than those for other purposes.

    Returns:
        (M,) int64, indices of `task.train`, sorted by the images' places in their data set.
    """
    by_row = np.argsort(task.train.rows)
    labels = task.train.labels[by_row]
    places = []
    for label, name in enumerate(task.class_names):
        found = np.flatnonzero(labels == label)
        rng = np.random.default_rng(_seed(seed, f"{purpose}{task.source.dataset}", name))
        places.append(rng.choice(found, number(len(found)), replace=False))
    drawn: np.ndarray = by_row[np.sort(np.concatenate(places))]
    return drawn


def _seed(seed: int, dataset: str, class_name: str) -> int:
    digest = hashlib.sha256(json.dumps([seed, dataset, class_name]).encode()).digest()
    return int.from_bytes(digest, "big")
