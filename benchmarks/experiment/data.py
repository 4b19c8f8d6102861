"""A stream's images, ready for training and testing: in memory, in the cache, or from the files."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.config.settings import Augmentation
from benchmarks.experiment.evaluation import EvaluationSet
from benchmarks.images.augment import Cropped
from benchmarks.images.opener import Opener
from benchmarks.runtime.progress import ProgressBar
from benchmarks.streams.base import Stream
from strategies.training.experiences import LabelledImages


@dataclass(frozen=True)
class Data:
    """By task, in order.

    Attributes:
        sha256: of all images (at the backbone's size) and labels: whether a run goes on with what it began with.
    """

    train: Sequence[LabelledImages]
    test: Sequence[EvaluationSet]
    sha256: str


def load(stream: Stream, size: int, augmentation: Augmentation, cache_root: Path | None, bar: ProgressBar) -> Data:
    """Makes every image of a stream readable at `size`, and reads each once if nobody has before.

    Args:
        augmentation: with random crops, training images come from the files.
        cache_root: where decoded images are kept; None: nowhere, they are decoded at every reading.

    Raises:
        UserError: an image that can't be read, named; too little space for the cache.
    """
    opener = Opener(size, cache_root, bar)
    trains, tests = [task.train for task in stream.tasks], [task.test for task in stream.tasks]
    cropped = augmentation != "none"
    opener.fill(tests if cropped else trains + tests)
    total = hashlib.sha256()
    train, test = [], []
    for task in stream.tasks:
        pixels, found = opener.open(task.train, from_files=cropped)
        labels = torch.from_numpy(task.train.labels)
        train.append(LabelledImages(Cropped(task.train, size) if cropped else pixels, labels))
        total.update(found.tobytes() + task.train.labels.tobytes())
        pixels, found = opener.open(task.test)
        test.append(EvaluationSet(pixels, torch.from_numpy(task.test.labels)))
        total.update(found.tobytes() + task.test.labels.tobytes())
    return Data(train, test, total.hexdigest())
