"""Random numbers for each picture, so that no two pictures share any, whatever set they are in."""

import numpy as np


SETS = ("pretraining", "train", "test")


def sequence(subset: str, seed: int, *place: int) -> np.random.SeedSequence:
    """The seed of one picture.

    Args:
        subset: one of SETS.
        seed: of the whole set.
        place: numbers that tell the picture from all others of its set.
    """
    return np.random.SeedSequence(seed, spawn_key=(SETS.index(subset), *place))


def generator(subset: str, seed: int, *place: int) -> np.random.Generator:
    """A fresh generator from `sequence`."""
    return np.random.default_rng(sequence(subset, seed, *place))
