"""The cache of decoded images: every image is resized and cropped once, into files that all runs share.

There is one folder for each `Images` and size. Its name ends with a key, a digest of the data's fingerprint, the
transform and the library versions that influence pixels, so that other versions never read old pixels:

    pixels.u8    (count, 3, size, size) uint8, with holes where no image has been decoded yet
    digests.u8   (count, 8) uint8: a digest of each image's pixels, zero if it has not been decoded yet
    about.json   the content that the key is a digest of

    filling      empty; exists while a process writes, or after one was killed or the power failed
    .holder      which process writes, while one does

Only the images that a run needs are decoded, so a few-shot run needs little space; later runs use what exists. After a
process was killed, all pixels are compared with their digests before they are used. `benchmarks.prepare --check` always
compares them.
"""

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import features
from rich.filesize import decimal
from torch import Tensor

from benchmarks.config.errors import UserError
from benchmarks.images.decode import DIGEST, TRANSFORM, decode_one, digest, in_threads
from benchmarks.images.sets import Images
from benchmarks.runtime import files
from benchmarks.runtime.locks import locked


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


FLUSH = 32 * 2**20  # bytes to decode before writing them to disk is started


def stop(error: UserError) -> None:
    """Raises the error of an image that cannot be read, which ends the decoding of all.

    It is the default of the argument `on_bad` of functions that decode many images.
    """
    raise error


def say_nothing(who: str, since: str) -> None:
    """Does nothing; the default of the argument `on_held` of functions that may wait for another process."""


class CacheFile:
    """The cache on disk of some images at one size: a folder with the pixels and a digest of each image's pixels.

    Args:
        root: the folder of all caches.
        images: the images, of which there are `count`, for instance the training images of a data set.
        size: side of the decoded images, in pixels.

    Attributes:
        folder: the folder of this cache, below `root`. Its name ends with a digest of `about`.
        pixels: the file of the pixels, (count, 3, size, size) uint8.
        digests: the file of the digests, (count, 8) uint8.
        filling: an empty file that exists while a process writes, or after one was killed; then pixels are compared
            with their digests before they are used.
        shape: (count, 3, size, size).
        about: all on which the pixels depend: data, size, transform and library versions.
    """

    def __init__(self, root: Path, images: Images, size: int) -> None:
        self.images, self.size = images, size
        self.about = _about(images, size)
        key = hashlib.sha256(json.dumps(self.about).encode()).hexdigest()[:12]
        name = "".join(c if c.isalnum() or c in "-." else "_" for c in images.name)
        name = name.encode()[:80].decode(errors="ignore")  # file systems allow at most 255 bytes
        self.folder = root / f"{name}-{size}px-{key}"
        self.pixels, self.digests, self.filling = (self.folder / n for n in ("pixels.u8", "digests.u8", "filling"))
        self.shape = (images.count, 3, size, size)

    @property
    def image_bytes(self) -> int:
        """Size of one decoded image in bytes."""
        return 3 * self.size * self.size

    def ready(self) -> np.ndarray:
        """Returns the digests (count, 8) uint8 of all images, zero for images that have not been decoded yet.

        All are zero if a file of the cache is missing or cut short.
        """
        if not self._whole():
            return np.zeros((self.images.count, DIGEST), dtype=np.uint8)
        return np.fromfile(self.digests, dtype=np.uint8).reshape(-1, DIGEST)

    def _whole(self) -> bool:
        try:
            found = self.pixels.lstat(), self.digests.lstat()
        except FileNotFoundError:
            return False
        if not all(stat.S_ISREG(each.st_mode) for each in found):  # a link that somebody put there is not followed
            return False
        return tuple(each.st_size for each in found) == (
            self.images.count * self.image_bytes,
            self.images.count * DIGEST,
        )

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Returns the rows that have not been decoded yet, sorted, without repetitions.

        Args:
            rows: (N,) int64, the indices of the images that are wanted.
        """
        rows = np.unique(rows)
        return rows[~self.ready()[rows].any(axis=1)]

    def trusted(self) -> bool:
        """Returns whether the decoded images can be used without being compared with their digests.

        They cannot while a process writes into the cache, after one was killed, and after `distrust`.
        """
        return not self.filling.exists()

    def distrust(self, on_held: Callable[[str, str], None] = say_nothing) -> None:
        """Makes the next `fill` compare all decoded images with their digests, and decode again those wanted that differ.

        Does nothing if a file of the cache is missing or cut short.

        Args:
            on_held: called if another process fills the same cache, with which it is, in words, and since when.
        """
        if self._whole():
            with locked(self.folder, on_held):  # a process that is filling the cache would remove the mark
                self.filling.touch()

    def fill(
        self,
        rows: np.ndarray,
        on_image: Callable[[], None] = lambda: None,
        on_bad: Callable[[UserError], None] = stop,
        on_held: Callable[[str, str], None] = say_nothing,
    ) -> int:
        """Decodes those of some images that are not in the cache yet, on all cores, and returns how many those were.

        If another process fills the same cache, it waits for that, then finds the images there.

        Args:
            rows: (N,) int64, the indices of the images that are wanted.
            on_image: called without arguments after each image, for progress.
            on_bad: called with the error of an image that cannot be read; unless it raises, the image stays missing and
                decoding continues.
            on_held: called if another process fills the same cache, with which it is, in words, and since when.

        Raises:
            UserError: an image cannot be read (earlier ones are kept), the disk is full, or the folder cannot be
                written.
        """
        if self.folder.is_symlink():
            raise UserError(
                f"{self.folder}: a link, which no cache is written through; delete it, or name another --cache"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder, on_held):
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
        """Makes files of the full length, as holes; files that were cut short are replaced."""
        if self._whole():
            return
        files.write_json(self.folder / "about.json", self.about)
        for file, each in ((self.digests, DIGEST), (self.pixels, self.image_bytes)):
            file.unlink(missing_ok=True)
            with file.open("xb") as opened:  # which follows no link
                opened.truncate(self.images.count * each)

    def _forget_unwritten(self) -> None:
        """Resets the digests of images whose pixels differ from them, because the power failed before the disk had
        them, or by damage.
        """
        found = self.ready()
        present = np.flatnonzero(found.any(axis=1)).tolist()
        with self.pixels.open("rb") as pixels, self.digests.open("r+b") as opened:

            def wrong(row: int) -> bool:
                image = self.stored(pixels.fileno(), row)
                return image is None or digest(image) != found[row].tobytes()

            for row, is_wrong in zip(present, in_threads(wrong, present), strict=True):
                if is_wrong:
                    _write_whole(opened.fileno(), memoryview(bytes(DIGEST)), row * DIGEST)

    def stored(self, pixels: int, row: int) -> Tensor | None:
        """Returns an image (3, size, size) uint8 as it is in the cache, unchecked; None if the file ends before it.

        Args:
            pixels: the file descriptor of the file `pixels`, opened for reading.
            row: the index of the image.
        """
        data = bytearray(os.pread(pixels, self.image_bytes, row * self.image_bytes))
        return torch.frombuffer(data, dtype=torch.uint8).view(self.shape[1:]) if len(data) == self.image_bytes else None

    def _decode(self, rows: np.ndarray, on_image: Callable[[], None], on_bad: Callable[[UserError], None]) -> None:
        """Decodes the rows, then deletes `filling`, unless the disk reported an error: then all pixels are compared
        before use.
        """
        pixels, digests = os.open(self.pixels, os.O_RDWR), os.open(self.digests, os.O_RDWR)

        def write(row: int) -> UserError | None:
            try:
                image = decode_one(self.images, row, self.size)
            except UserError as error:
                return error
            _write_whole(pixels, image.numpy().data.cast("B"), row * self.image_bytes)
            _write_whole(digests, memoryview(digest(image)), row * DIGEST)
            return None

        flushes, refused = [], False
        try:
            for some in _pieces(rows, max(FLUSH // self.image_bytes, 1)):
                flushes.append(_disk().submit(os.fsync, pixels))  # writes the previous images while these are decoded
                with closing(in_threads(write, some)) as written:
                    for error in written:
                        if error:
                            on_bad(error)
                        on_image()
        except OSError:
            refused = True
            raise
        finally:  # also after a bad image or an interruption: images are complete
            for flush in flushes:
                flush.result()  # a failed write is reported only once
            for file in (pixels, digests):
                os.fsync(file)
                os.close(file)
            if not refused:
                self.filling.unlink()


@cache
def _disk() -> ThreadPoolExecutor:
    """Returns the thread that waits for the disk."""
    return ThreadPoolExecutor(1)


def _pieces(rows: np.ndarray, count: int) -> Iterator[list[int]]:
    """Yields at most `count` rows at once, to bound the memory of queued work."""
    for first in range(0, len(rows), count):
        yield rows[first : first + count].tolist()


def _write_whole(file: int, data: memoryview, place: int) -> None:
    """Writes all of the data: on a full disk the system may write less than it was given, without an error."""
    while data:
        written = os.pwrite(file, data, place)
        data, place = data[written:], place + written


def check_space(root: Path, missing: Mapping[CacheFile, np.ndarray]) -> int:
    """Checks that the disk has space for decoding some images into the cache, and returns how many bytes that takes.

    Args:
        root: the folder of all caches.
        missing: for each cache the indices (N,) of the images to decode.

    Raises:
        UserError: the disk has less free space.
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
