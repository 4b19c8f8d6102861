"""Draws the pretraining set on all cores into memory."""

from collections.abc import Callable
from functools import partial
from multiprocessing import get_context

import numpy as np

from benchmarks.micro.captions import pair
from benchmarks.micro.render import SIDE


CHUNK = 500


def _chunk(seed: int, number: int, first: int) -> tuple[list[str], np.ndarray]:
    """Returns the pairs from number `first` on: CHUNK of them, or fewer at the end of the set."""
    drawn = [pair(index, seed) for index in range(first, min(first + CHUNK, number))]
    return [caption for caption, _ in drawn], np.stack([np.asarray(picture) for _, picture in drawn])


def draw_pairs(
    number: int, seed: int, on_pairs: Callable[[int], None] = lambda count: None
) -> tuple[list[str], np.ndarray]:
    """Returns the captions and the images (number, 32, 32, 3) uint8 of a pretraining set, drawn on all cores.

    The last axis is red, green, blue; caption i describes image i.

    Args:
        number: how many pairs are drawn.
        seed: determines the pairs.
        on_pairs: called with the number of pairs just drawn, for progress.
    """
    captions: list[str] = []
    pictures = np.empty((number, SIDE, SIDE, 3), dtype=np.uint8)
    with get_context("spawn").Pool() as pool:
        for some, drawn in pool.imap(partial(_chunk, seed, number), range(0, number, CHUNK)):
            pictures[len(captions) : len(captions) + len(some)] = drawn
            captions += some
            on_pairs(len(some))
    return captions, pictures
