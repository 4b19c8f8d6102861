"""ZSCL's random split into training and test images, for data sets published without one."""

from dataclasses import replace

import numpy as np
from torch import Generator
from torch.utils.data import random_split

from benchmarks.datasets.parts import Part


SEED = 42
SHARE = 0.8  # of the images, for training


def random_halves(whole: Part) -> tuple[Part, Part]:
    """Returns two parts: 80 % of the images for training, and the rest for testing.

    They are drawn by torch's `random_split` with seed 42; the number of training images is rounded down. Both parts
    have the data set, labels and files of `whole`, and differ only in `rows`, the images that they consist of.

    Args:
        whole: all images of the data set; its own `rows` are not read.
    """
    count = len(whole.dataset)
    train = int(SHARE * count)
    halves = random_split(whole.dataset, [train, count - train], Generator().manual_seed(SEED))
    training, testing = (replace(whole, rows=np.array(half.indices, dtype=np.int64)) for half in halves)
    return training, testing
