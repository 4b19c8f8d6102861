"""Decodes images at the backbone's input size into uint8 tensors, either once into memory or at every reading.

Training and testing use the same pixels: the shorter side is resized (bicubic), then the centre is cropped, by
torchvision's transforms. The cache on disk (`cache`) holds exactly these bytes; training with augmentation (`augment`)
decodes the files.
"""

import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

import numpy as np
import torch
import xxhash
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, PILToTensor, Resize

from benchmarks.config.errors import UnreadableImage, UserError
from benchmarks.images.image_io import MOST_PIXELS, read_rgb
from benchmarks.images.sets import Images, Split
from strategies.training.pixels import Pixels


TRANSFORM = "pictures 1, Resize(size, bicubic), CenterCrop(size)"  # in the cache's key; change it when pixels change
DIGEST = 8  # bytes
T = TypeVar("T")


def threads() -> int:
    """Returns the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def pool() -> ThreadPoolExecutor:
    """Returns the threads that decode images, one for each core; all splits of a process share them.

    What they do must not wait for other work of theirs.
    """
    return ThreadPoolExecutor(threads())


def in_threads(act: Callable[[int], T], items: Iterable[int]) -> Generator[T, None, None]:
    """Yields what an action returns for each item, in their order; the threads of `pool` do it.

    Closed before its end, or when the action raises an error, it drops what has not begun and waits for what has.

    Args:
        act: called with each item.
        items: all of them are queued at once.
    """
    futures = [pool().submit(act, item) for item in items]
    try:
        for future in futures:
            yield future.result()
    finally:
        for future in futures:
            future.cancel()
        wait(futures)


def decode_one(images: Images, row: int, size: int) -> Tensor:
    """Returns one image as (3, size, size) uint8, RGB.

    Its shorter side is resized to `size` (bicubic), then its centre is cropped.

    Args:
        images: the images as their owner stores them, in any size and mode.
        row: the index of the image among them.
        size: side of the result, in pixels.

    Raises:
        UnreadableImage: the image cannot be read, or it is too narrow to be resized.
    """
    # A square image of the right size passes through both unchanged.
    transform = Compose([Resize(size, InterpolationMode.BICUBIC), CenterCrop(size), PILToTensor()])
    picture = read_rgb(images, row)
    if size * size * max(picture.size) > MOST_PIXELS * min(picture.size):
        raise UnreadableImage(
            f"{images.where(row)}: not a usable image ({picture.width} x {picture.height} pixels, so thin that with a shorter "
            f"side of {size} it has more than {MOST_PIXELS}; cut it)"
        )
    return transform(picture).contiguous()


def digest(image: Tensor) -> bytes:
    """Returns a digest of 8 bytes of an image's pixels, by which the cache notices damaged images.

    It is never all zero, which in the cache stands for images not decoded yet.

    Args:
        image: the pixels (3, S, S) uint8, on the CPU.
    """
    found = xxhash.xxh3_64_digest(image.numpy().data)
    return found if any(found) else b"\1" * DIGEST


def decode(split: Split, size: int, on_image: Callable[[], None] = lambda: None) -> Tensor:
    """Returns all N images of a split as (N, 3, size, size) uint8, decoded on all cores.

    Args:
        split: the images.
        size: side of the decoded images, in pixels.
        on_image: called without arguments after each image, for progress.

    Raises:
        UserError: an image cannot be read; the message names it.
    """
    out = torch.empty(len(split), 3, size, size, dtype=torch.uint8)

    def fill(place: int) -> None:
        out[place] = decode_one(split.images, int(split.rows[place]), size)
        on_image()

    list(in_threads(fill, range(len(split))))
    return out


class FromFiles:
    """A split's images, decoded at every reading and not stored.

    Item i is (3, size, size) uint8, a slice (B, 3, size, size). The shorter side is resized to `size` (bicubic), then
    the centre is cropped. Reading an item raises UnreadableImage if its file cannot be read.

    Args:
        split: the images.
        size: side of the decoded images, in pixels.
    """

    def __init__(self, split: Split, size: int) -> None:
        self.split, self.size = split, size

    def __len__(self) -> int:
        return len(self.split)

    def one(self, place: int) -> Tensor:
        """Returns one image of the split as (3, size, size) uint8, RGB.

        Args:
            place: the index of the image in the split.

        Raises:
            UnreadableImage: the image cannot be read; the message names its file.
        """
        return decode_one(self.split.images, int(self.split.rows[place]), self.size)

    def __getitem__(self, places: int | slice) -> Tensor:
        if isinstance(places, int):
            return self.one(places)
        return torch.stack(list(in_threads(self.one, range(len(self))[places])))


def digests(pixels: Pixels, on_image: Callable[[], None] = lambda: None) -> np.ndarray:
    """Returns the digests (N, 8) uint8 of the pixels of all N images, on all cores.

    It reads every image once, so unreadable ones are found before training.

    Args:
        pixels: N images (3, S, S) uint8: a tensor (N, 3, S, S), or an object that reads item i from the disk.
        on_image: called without arguments after each image, for progress.

    Raises:
        UnreadableImage: an image cannot be read; the message names its file.
    """

    def one(place: int) -> bytes:
        found = digest(pixels[place])
        on_image()
        return found

    joined = b"".join(in_threads(one, range(len(pixels))))
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, DIGEST)


def check(split: Split, size: int, on_image: Callable[[], None] = lambda: None) -> list[UserError]:
    """Reads every image of a split once, on all cores, and returns the errors of those that cannot be read.

    Args:
        split: the images.
        size: side of the decoded images, in pixels.
        on_image: called without arguments after each image, for progress.
    """

    def one(row: int) -> UserError | None:
        try:
            decode_one(split.images, row, size)
        except UserError as error:
            return error
        finally:
            on_image()
        return None

    return [error for error in in_threads(one, split.rows.tolist()) if error]
