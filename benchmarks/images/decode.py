"""Images at the size the backbone reads, as bytes: decoded once into memory, or from the files at every reading.

Training and testing see the same: shorter side resized (bicubic), centre cropped, by torchvision's own transforms. The cache
on disk (`cache`) holds exactly these bytes; training with augmentation (`augment`) reads the files.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import xxhash
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, PILToTensor, Resize

from benchmarks.config.errors import UnreadableImage, UserError
from benchmarks.images.image_io import MOST_PIXELS, read_rgb
from benchmarks.images.sets import Images, Split
from strategies.training.pixels import Pixels


TRANSFORM = "pictures 1, Resize(size, bicubic), CenterCrop(size)"  # for the cache's key: another text for other pixels
DIGEST = 8  # bytes


def threads() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decode_one(images: Images, row: int, size: int) -> Tensor:
    """Image `row` as (3, size, size) uint8. Raises UnreadableImage if it can't be read or is too thin to resize."""
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
    """DIGEST bytes that stand for an image's pixels; never all zero, which the cache keeps for images not decoded yet."""
    found = xxhash.xxh3_64_digest(image.numpy().data)
    return found if any(found) else b"\1" * DIGEST


def decode(split: Split, size: int, on_image: Callable[[], None] = lambda: None) -> Tensor:
    """All images of a split as (N, 3, size, size) uint8, on all cores: Pillow lets other threads run while it decodes.

    Raises:
        UserError: an image that can't be read, named.
    """
    out = torch.empty(len(split), 3, size, size, dtype=torch.uint8)

    def fill(place: int) -> None:
        out[place] = decode_one(split.images, int(split.rows[place]), size)
        on_image()

    with ThreadPoolExecutor(threads()) as pool:
        list(pool.map(fill, range(len(split))))
    return out


class FromFiles:
    """Decodes at every reading; keeps nothing. A `Pixels`."""

    def __init__(self, split: Split, size: int) -> None:
        self.split, self.size = split, size
        self._pool = ThreadPoolExecutor(threads())

    def __len__(self) -> int:
        return len(self.split)

    def one(self, place: int) -> Tensor:
        """Image (3, S, S)."""
        return decode_one(self.split.images, int(self.split.rows[place]), self.size)

    def __getitem__(self, places: int | slice) -> Tensor:
        if isinstance(places, int):
            return self.one(places)
        return torch.stack(list(self._pool.map(self.one, range(len(self))[places])))


def digests(pixels: Pixels, on_image: Callable[[], None] = lambda: None) -> np.ndarray:
    """(N, DIGEST) uint8, reading every image once: what can't be read comes to light here, before any training."""

    def one(place: int) -> bytes:
        found = digest(pixels[place])
        on_image()
        return found

    with ThreadPoolExecutor(threads()) as pool:
        joined = b"".join(pool.map(one, range(len(pixels))))
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, DIGEST)


def check(split: Split, size: int, on_image: Callable[[], None] = lambda: None) -> list[UserError]:
    """Reads every image of a split once, on all cores, and keeps nothing but the messages on those that can't be read."""

    def one(row: int) -> UserError | None:
        try:
            decode_one(split.images, row, size)
        except UserError as error:
            return error
        finally:
            on_image()
        return None

    with ThreadPoolExecutor(threads()) as pool:
        return [error for error in pool.map(one, split.rows.tolist()) if error]
