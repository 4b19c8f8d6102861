"""Random numbers for each image: images of any set never share a seed."""

import numpy as np


SETS = ("pretraining", "train", "test")


def sequence(subset: str, seed: int, *place: int) -> np.random.SeedSequence:
    """Returns the NumPy seed of one image; those of different images, also of different sets, are independent.

    Args:
        subset: `pretraining`, `train` or `test`.
        seed: the seed of the whole set.
        place: numbers that identify the image in its set, for instance its index.
    """
    return np.random.SeedSequence(seed, spawn_key=(SETS.index(subset), *place))


def generator(subset: str, seed: int, *place: int) -> np.random.Generator:
    """Returns a new NumPy generator for one image; those of different images, also of different sets, are independent.

    Args:
        subset: `pretraining`, `train` or `test`.
        seed: the seed of the whole set.
        place: numbers that identify the image in its set, for instance its index.
    """
    return np.random.default_rng(sequence(subset, seed, *place))
