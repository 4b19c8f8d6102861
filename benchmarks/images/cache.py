"""The decoded-image cache: every image resized and cropped once, in files that all runs share.

A folder for each `Images` and size, named after both and a key made of the data's fingerprint, the transform and the versions
that decide pixels, so that another version never meets old pixels:

    pixels.u8    (count, 3, size, size) uint8, with holes where no image has been decoded yet
    digests.u8   (count, 8) uint8: a digest of each image's pixels, zero where it has not been decoded yet
    about.json   what the key is made of

    filling      empty; there while a process writes, or after one was killed or the power went

Only the images that a run needs are decoded, so a few-shot run needs little space, and whatever was decoded before is used
again. What a process left that did not end by itself is compared with its digests before anybody trusts it; the rest only by
`benchmarks.prepare --check`.
"""

import hashlib
import json
import mmap
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from PIL import features
from rich.filesize import decimal
from torch import Tensor

from benchmarks.config.errors import UserError
from benchmarks.images.decode import DIGEST, TRANSFORM, decode_one, digest, threads
from benchmarks.images.sets import Images
from benchmarks.runtime import files


def _about(images: Images, size: int) -> dict[str, object]:
    assert images.fingerprint is not None, f"{images.name} is not to be cached"
    return {
        "images": images.name,
        "count": images.count,
        "size": size,
        "transform": TRANSFORM,
        "pillow": version("pillow"),
        "libjpeg": features.version("jpg"),
        "torchvision": version("torchvision"),
        "data": images.fingerprint(),
    }


FLUSH = 32 * 2**20  # bytes that are decoded before the disk is made to begin with them


def stop(error: UserError) -> None:
    """What to do about an image that can't be read, in a run: say which, and end."""
    raise error


class CacheFile:
    """The cache of one `Images` at one size.

    Raises:
        UserError: the folder can't be made or written.
    """

    def __init__(self, root: Path, images: Images, size: int) -> None:
        self.images, self.size = images, size
        self.about = _about(images, size)
        key = hashlib.sha256(json.dumps(self.about).encode()).hexdigest()[:12]
        name = "".join(c if c.isalnum() or c in "-." else "_" for c in images.name)
        name = name.encode()[:80].decode(errors="ignore")  # file systems end at 255 bytes
        self.folder = root / f"{name}-{size}px-{key}"
        self.pixels, self.digests, self.filling = (self.folder / n for n in ("pixels.u8", "digests.u8", "filling"))
        self.shape = (images.count, 3, size, size)

    @property
    def image_bytes(self) -> int:
        return 3 * self.size * self.size

    def ready(self) -> np.ndarray:
        """(count, DIGEST) uint8: the digests so far. A cache that was cut short has none."""
        if not self._whole():
            return np.zeros((self.images.count, DIGEST), dtype=np.uint8)
        return np.fromfile(self.digests, dtype=np.uint8).reshape(-1, DIGEST)

    def _whole(self) -> bool:
        try:
            lengths = self.pixels.stat().st_size, self.digests.stat().st_size
        except FileNotFoundError:
            return False
        return lengths == (self.images.count * self.image_bytes, self.images.count * DIGEST)

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Those of the rows (N,) that have not been decoded yet, each once, rising."""
        rows = np.unique(rows)
        return rows[~self.ready()[rows].any(axis=1)]

    def trusted(self) -> bool:
        """Whether what has been decoded needs no comparing with its digests."""
        return not self.filling.exists()

    def distrust(self) -> None:
        """Has the next `fill` compare what is there with its digests, and decode anew what differs."""
        if self._whole():
            with FileLock(self.folder / ".lock"):  # not while another process fills: it would take the mark away
                self.filling.touch()

    def fill(
        self,
        rows: np.ndarray,
        on_image: Callable[[], None] = lambda: None,
        on_bad: Callable[[UserError], None] = stop,
    ) -> int:
        """Decodes what is missing of the rows, on all cores. Another process that fills the same waits, then finds it done.

        Args:
            on_image: called after each, for progress.
            on_bad: called with the message on an image that can't be read, which stays missing; unless it raises, the
                others follow.

        Returns:
            How many were missing.

        Raises:
            UserError: an image that can't be read (those before it are kept), a full disk, a folder without permission.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock"):
                self._lay_out()
                if self.filling.exists():
                    self._forget_unwritten()
                absent = self.missing(rows)
                self.filling.touch()
                self._decode(absent, on_image, on_bad)
                return len(absent)
        except OSError as error:
            raise UserError(
                f"{self.folder}: the cache cannot be written: {error.strerror}; name another place with --cache, "
                "or go without: --no-cache"
            ) from error

    def _lay_out(self) -> None:
        """Files of the full length, as holes; what was cut short begins anew."""
        if self._whole():
            return
        files.write_json(self.folder / "about.json", self.about)
        for file, each in ((self.digests, DIGEST), (self.pixels, self.image_bytes)):
            with file.open("wb") as opened:
                opened.truncate(self.images.count * each)

    def _forget_unwritten(self) -> None:
        """Takes back the digests of images whose pixels are others: not on the disk when the power went, or damaged since."""
        found, pixels = self.ready(), Cached(self, np.arange(self.images.count))

        def wrong(row: int) -> bool:
            return digest(pixels[row]) != found[row].tobytes()

        present = np.flatnonzero(found.any(axis=1)).tolist()
        with ThreadPoolExecutor(threads()) as pool, self.digests.open("r+b") as opened:
            for row, is_wrong in zip(present, pool.map(wrong, present), strict=True):
                if is_wrong:
                    _write_whole(opened.fileno(), memoryview(bytes(DIGEST)), row * DIGEST)

    def _decode(self, rows: np.ndarray, on_image: Callable[[], None], on_bad: Callable[[UserError], None]) -> None:
        """Ends with `filling` gone, unless the disk refused something: then all is compared before anybody trusts it."""
        pixels, digests = os.open(self.pixels, os.O_RDWR), os.open(self.digests, os.O_RDWR)

        def write(row: int) -> UserError | None:
            try:
                image = decode_one(self.images, row, self.size)
            except UserError as error:
                return error
            _write_whole(pixels, image.numpy().data.cast("B"), row * self.image_bytes)
            _write_whole(digests, memoryview(digest(image)), row * DIGEST)
            return None

        pool, disk, flushes, refused = ThreadPoolExecutor(threads()), ThreadPoolExecutor(1), [], False
        try:
            for some in _pieces(rows, max(FLUSH // self.image_bytes, 1)):
                flushes.append(disk.submit(os.fsync, pixels))  # what was decoded before, while these are
                for error in pool.map(write, some):
                    if error:
                        on_bad(error)
                    on_image()
        except OSError:
            refused = True
            raise
        finally:  # also after a bad image or an interruption, which leave whole images
            pool.shutdown(cancel_futures=True)
            for flush in flushes:
                flush.result()  # the system reports a write that failed only once
            for file in (pixels, digests):
                os.fsync(file)
                os.close(file)
            if not refused:
                self.filling.unlink()


def _pieces(rows: np.ndarray, count: int) -> Iterator[list[int]]:
    """At most `count` rows at once, so that what waits takes no memory."""
    for first in range(0, len(rows), count):
        yield rows[first : first + count].tolist()


def _write_whole(file: int, data: memoryview, place: int) -> None:
    """The system may write less than it was given, on a full disk without a word."""
    while data:
        written = os.pwrite(file, data, place)
        data, place = data[written:], place + written


class Cached:
    """A split's images out of the cache, a `Pixels`.

    The file is mapped into memory: its pages lie in the operating system's cache, shared by all processes. After each reading
    this process lets go of them, so that it holds no more of a large data set than of a small one.
    """

    def __init__(self, file: CacheFile, rows: np.ndarray) -> None:
        self.rows = rows
        with file.pixels.open("rb") as opened:
            self._mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        self._pixels = np.frombuffer(self._mapped, dtype=np.uint8).reshape(file.shape)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: int | slice) -> Tensor:
        copy = torch.from_numpy(self._pixels.take(self.rows[places], axis=0))
        if hasattr(self._mapped, "madvise"):  # not on Windows
            self._mapped.madvise(mmap.MADV_DONTNEED)
        return copy


def check_space(root: Path, missing: Mapping[CacheFile, np.ndarray]) -> int:
    """Bytes that decoding these rows of these files will take.

    Raises:
        UserError: more than is free where the cache lies.
    """
    space = sum(len(rows) * file.image_bytes for file, rows in missing.items())
    there = next(parent for parent in (root, *root.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if space > free:
        raise UserError(
            f"--cache {root}: {decimal(space)} more are needed for decoded images, {decimal(free)} are free; "
            "name another place, or go without: --no-cache"
        )
    return space
