"""Mini-batches of a fixed number, read, put together and page-locked ahead by threads while the model computes."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import RandomSampler

from strategies.numerics.data_parallel import WHOLE, Share


AHEAD = 3  # batches that are read before they are asked for

# What a data set with augmentation draws from, beside which image it is: the task's seed, and the image's number in the
# task or, where another loader reads, the step's.
# None: nothing is drawn, images are read as in a test.
draw: ContextVar[tuple[int, int] | None] = ContextVar("draw", default=None)


def sample(strategy: Any, data: Any, count: int, batch_size: int) -> "Loader":
    """At most `count` images of a data set, drawn by torch's seed (under this project's template the task's), each once."""
    seed = torch.initial_seed()
    sampler = RandomSampler(data, num_samples=min(count, len(data)), generator=torch.Generator().manual_seed(seed))
    return Loader(data, sampler, batch_size, seed=seed, threads=threads(strategy))


def threads(strategy: Any) -> int:
    """That read images ahead; Avalanche's own strategies say nothing of them."""
    return getattr(strategy, "threads", 1)


class Loader:
    """Yields the images that the sampler names in batches, as Avalanche's own loaders do.

    Threads, not processes: decoding lets other threads run, nothing has to be started anew for each task, and what a batch
    holds does not depend on how many there are.

    Args:
        data: an Avalanche data set; `data[i]` is (x, y, t).
        sampler: names the images in order; also a list of them.
        batch_size: images in a batch.
        seed: of the task, for `draw`; None without augmentation.
        threads: that read at once.
        pin: page-locked tensors, for a faster way to the GPU.
        share: of each batch, this process's; only these images are read.
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
        # Torch's own loaders draw a seed here, from the generator that dropout draws from too. Kept for equal runs.
        torch.empty((), dtype=torch.int64).random_()
        images = enumerate(self.sampler)
        waiting: deque[Future[list[Tensor]]] = deque()
        with ThreadPoolExecutor(self.threads) as pool:
            try:
                for _ in range(len(self)):
                    while len(waiting) < AHEAD and (batch := list(islice(images, self.batch_size))):
                        waiting.append(self._begin(pool, self.share.of(batch)))
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _begin(self, pool: ThreadPoolExecutor, batch: Sequence[tuple[int, int]]) -> Future[list[Tensor]]:
        """A piece of the batch for each thread; then a thread puts them together.

        It waits for none that has not begun, since the pool takes up its work in order.
        """
        piece = -(-len(batch) // self.threads)
        pieces = [pool.submit(self._read, batch[first : first + piece]) for first in range(0, len(batch), piece)]
        return pool.submit(self._collate, pieces)

    def _read(self, images: Sequence[tuple[int, int]]) -> list[Any]:
        items = []
        for number, index in images:
            draw.set(None if self.seed is None else (self.seed, number))
            items.append(self.data[index])
        return items

    def _collate(self, pieces: list[Future[list[Any]]]) -> list[Tensor]:
        batch = self.data.collate_fn([item for piece in pieces for item in piece.result()])
        return [tensor.pin_memory() for tensor in batch] if self.pin else list(batch)
