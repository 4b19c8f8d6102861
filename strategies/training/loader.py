"""A fixed number of mini-batches, which threads read, collate and page-lock while the model computes."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import ContextVar
from functools import cache
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import RandomSampler

from strategies.numerics.data_parallel import WHOLE, Share


AHEAD = 3  # batches that are read before they are asked for

# What random augmentation of an image depends on, besides the image itself: the task's seed, and the image's position
# among all those that the task reads (where another loader reads: the number of the step).
# None: no augmentation, images are read as for evaluation.
draw: ContextVar[tuple[int, int] | None] = ContextVar("draw", default=None)


def sample(strategy: Any, data: Any, count: int, batch_size: int) -> "Loader":
    """Returns a loader of `count` images of a data set, in random order, reshuffled whenever all have been drawn.

    The draw depends on torch's current seed, which `ClipTemplate` sets from the run's seed and the task.

    Args:
        strategy: the Avalanche strategy that trains; it says how many threads read.
        data: an Avalanche data set; `data[i]` is (image (3, S, S) uint8, label, task label).
        count: the number of images.
        batch_size: images in a batch; the last batch may have fewer.
    """
    seed = torch.initial_seed()
    sampler = RandomSampler(data, num_samples=count, generator=torch.Generator().manual_seed(seed))
    return Loader(data, sampler, batch_size, seed=seed, threads=threads(strategy))


def threads(strategy: Any) -> int:
    """Returns the number of threads that read images ahead in a run; 1 if the strategy does not set it.

    Args:
        strategy: the Avalanche strategy that trains; `ClipTemplate` has the number as `threads`.
    """
    return getattr(strategy, "threads", 1)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Returns the threads of all loaders; a pool for each task would start them anew hundreds of times."""
    return ThreadPoolExecutor(threads)


class Unlabelled:
    """Images alone, without labels and augmentation, as a data set that `Loader` reads: a batch is [images].

    Args:
        images: a sequence whose items are images (3, S, S) uint8, or tuples that begin with one.
    """

    def __init__(self, images: Any) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        item = self.images[index]
        return item if isinstance(item, Tensor) else item[0]

    @staticmethod
    def collate_fn(items: list[Tensor]) -> list[Tensor]:
        """Returns [images (B, 3, S, S)] of B images (3, S, S)."""
        return [torch.stack(items)]


class Loader:
    """Iterates over the images that a sampler names, in batches of the kind that Avalanche's own loaders yield.

    A batch of a classification data set is [images (B, 3, S, S) uint8, labels (B,), task labels (B,)]. The loader reads
    in threads, not processes: image decoding releases Python's lock, and threads need not be started anew for each
    task. The contents of a batch do not depend on the number of threads. Its length is the number of batches.

    Args:
        data: an Avalanche data set; `data[i]` is (image, label, task label).
        sampler: the indices of the images in order; a list will do.
        batch_size: images in a batch over all processes.
        seed: the task's seed, for random augmentation; None for no augmentation.
        threads: the number of threads that read.
        pin: whether to copy batches to page-locked memory, from which a GPU copies faster.
        share: the part of each batch that this process computes. Only these images are read.
    """

    def __init__(
        self,
        data: Any,
        sampler: RandomSampler | Sequence[int],
        batch_size: int,
        *,
        seed: int | None,
        threads: int,
        pin: bool = False,
        share: Share = WHOLE,
    ) -> None:
        self.data, self.sampler, self.batch_size = data, sampler, batch_size
        self.seed, self.threads, self.pin, self.share = seed, threads, pin, share

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self) -> Iterator[list[Tensor]]:
        # Torch's own loaders draw a seed here, from the generator of dropout. The same draw keeps results as they were.
        torch.empty((), dtype=torch.int64).random_()
        images = enumerate(self.sampler)
        waiting: deque[list[Future[Any]]] = deque()
        try:
            for _ in range(len(self)):
                while len(waiting) < AHEAD and (batch := list(islice(images, self.batch_size))):
                    waiting.append(self._begin(self.share.of(batch)))
                *_, collated = waiting[0]
                found = collated.result()
                waiting.popleft()
                yield found
        finally:
            left = [future for futures in waiting for future in futures]
            for future in left:
                future.cancel()
            wait(left)

    def _begin(self, batch: Sequence[tuple[int, int]]) -> list[Future[Any]]:
        """Has each thread read a piece of the batch, then one thread collate the pieces; returns all of this work.

        The collating thread never waits for a piece that has not begun, since the pool takes up its work in order.
        """
        pool, piece = _pool(self.threads), -(-len(batch) // self.threads)
        pieces = [pool.submit(self._read, batch[first : first + piece]) for first in range(0, len(batch), piece)]
        return [*pieces, pool.submit(self._collate, pieces)]

    def _read(self, images: Sequence[tuple[int, int]]) -> list[Any]:
        items = []
        for number, index in images:
            draw.set(None if self.seed is None else (self.seed, number))
            items.append(self.data[index])
        return items

    def _collate(self, pieces: list[Future[list[Any]]]) -> list[Tensor]:
        batch = self.data.collate_fn([item for piece in pieces for item in piece.result()])
        return [tensor.pin_memory() for tensor in batch] if self.pin else list(batch)
