"""A stream's images, ready for training and testing: in memory, in the cache, or decoded from their files at each
reading.
"""

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
    """The images and labels of the tasks of a stream.

    Attributes:
        train: training images and labels of each task, in learning order.
        test: test images and labels of each task, in learning order.
        stream_sha256: hexadecimal digest of what is learned and tested, the same in any order of the tasks: of the names,
            test images and test labels, and with all training images also of those and their labels. Runs with other
            digests can't be compared.
        sha256: for each task a hexadecimal digest of all images (at the backbone's size) and labels of the tasks up to it;
            a resumed run must find the same last one.
    """

    train: Sequence[LabelledImages]
    test: Sequence[EvaluationSet]
    stream_sha256: str
    sha256: Sequence[str]


def load(
    stream: Stream,
    size: int,
    augmentation: Augmentation,
    cache_root: Path | None,
    bar: ProgressBar,
    *,
    drawn: bool = False,
) -> Data:
    """Returns the images of a stream at `size` pixels a side. Every image is read once here unless the cache has it.

    Args:
        stream: the tasks.
        size: side of the square images, in pixels.
        augmentation: `none`, or `random-resized-crop`: with random crops, training images are decoded from their files
            at each reading.
        cache_root: folder for decoded images; None decodes them at each reading.
        bar: shows the progress.
        drawn: whether the training images are a few that the seed drew (few-shot), so that the stream's digest is of the
            test images only.

    Raises:
        UserError: an image cannot be read (the message names it), or there is too little space for the cache.
    """
    opener = Opener(size, cache_root, bar)
    trains, tests = [task.train for task in stream.tasks], [task.test for task in stream.tasks]
    cropped = augmentation != "none"
    opener.fill(tests if cropped else trains + tests)
    total, of_tasks = hashlib.sha256(), []
    train, test, up_to = [], [], []
    for task in stream.tasks:
        pixels, found = opener.open(task.train, from_files=cropped)
        labels = torch.from_numpy(task.train.labels)
        train.append(LabelledImages(Cropped(task.train, size) if cropped else pixels, labels))
        trained = found.tobytes() + task.train.labels.tobytes()
        pixels, found = opener.open(task.test)
        test.append(EvaluationSet(pixels, torch.from_numpy(task.test.labels)))
        tested = found.tobytes() + task.test.labels.tobytes()
        total.update(trained + tested)
        up_to.append(total.hexdigest())
        of_tasks.append(hashlib.sha256(f"{task.name}\n".encode() + tested + (b"" if drawn else trained)).hexdigest())
    return Data(train, test, hashlib.sha256("".join(sorted(of_tasks)).encode()).hexdigest(), up_to)
