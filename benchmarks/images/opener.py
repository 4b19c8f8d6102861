"""Turns the splits of tasks into pixels: from memory, from the cache, or decoded at each reading."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.filesize import decimal

from benchmarks.config.errors import UserError
from benchmarks.images.cache import CacheFile, check_space, stop
from benchmarks.images.cached import Cached
from benchmarks.images.decode import FromFiles, check, decode, digests
from benchmarks.images.sets import Images, Split
from benchmarks.runtime.progress import ProgressBar
from strategies.training.pixels import Pixels


@dataclass
class Kept:
    """Splits that this process has drawn or checked, for processes that do many runs.

    Attributes:
        wanted: whether they are kept, as processes want that do many runs; else they would take memory for nothing.
        splits: the images and digests by all on which they depend. What the cache on disk has is not among them.
    """

    wanted: bool = False
    splits: dict[str, tuple[Pixels, np.ndarray]] = field(default_factory=dict)


KEPT = Kept()  # of this process


class Opener:
    """Opens splits (lists of image files) as decoded images of one size.

    With a cache, `fill` decodes images into it once and `open` reads them there. Without one, generated images are kept
    in memory, and all others are decoded at each reading. A split that several tasks share is opened once.

    Args:
        size: side of the decoded images, in pixels.
        cache_root: the folder of all caches on disk; None uses no cache.
        bar: shows the progress.
    """

    def __init__(self, size: int, cache_root: Path | None, bar: ProgressBar) -> None:
        self.size, self.cache_root, self.bar = size, cache_root, bar
        self._files: dict[int, CacheFile] = {}  # by id of the images
        self._opened: dict[int, tuple[Pixels, np.ndarray]] = {}  # by id of the split
        self._waited_for: set[str] = set()

    def _is_cached(self, images: Images) -> bool:
        return self.cache_root is not None and images.fingerprint is not None

    def _file(self, images: Images) -> CacheFile:
        """Returns the cache of images that are cached."""
        if id(images) not in self._files:
            assert self.cache_root is not None
            self._files[id(images)] = CacheFile(self.cache_root, images, self.size)
        return self._files[id(images)]

    def read_all(self, splits: Sequence[Split], on_bad: Callable[[UserError], None]) -> int:
        """Checks that every image can be read, and returns how many were read from their files.

        With a cache, missing images are decoded into it, and those in it already are compared with their digests and
        decoded again if they differ.

        Args:
            splits: the images to check.
            on_bad: called with the error of each image that cannot be read.

        Raises:
            UserError: the disk has too little space for the cache, or it cannot be written.
        """
        for file in self._rows(splits):
            file.distrust(self._say_whom)
        count = self.fill(splits, on_bad)
        for split in splits:
            if not self._is_cached(split.images):
                self.bar.begin(f"reading {split.images.name}", len(split))
                for error in check(split, self.size, self.bar.advance):
                    on_bad(error)
                count += len(split)
        return count

    def fill(self, splits: Sequence[Split], on_bad: Callable[[UserError], None] = stop) -> int:
        """Decodes the images that are missing in the cache into it, and returns how many those were; 0 without a cache.

        Args:
            splits: the images that are wanted in the cache.
            on_bad: called with the error of each image that cannot be read; by default it raises the error.

        Raises:
            UserError: the disk has too little space, or an image cannot be read.
        """
        if self.cache_root is None:
            return 0
        rows = self._rows(splits)
        missing = {file: file.missing(each) for file, each in rows.items()}
        space, count = check_space(self.cache_root, missing), sum(map(len, missing.values()))
        if count:
            self.bar.say(f"decoding {count} images into {self.cache_root}: {decimal(space)}")
        decoded = 0
        for file, absent in missing.items():
            if len(absent) or not file.trusted():
                what = "decoding" if len(absent) else "waiting for, or comparing, what is cached of"
                self.bar.begin(f"{what} {file.images.name}", len(absent) or None)
                decoded += file.fill(rows[file], self.bar.advance, on_bad, self._say_whom)
        return decoded

    def _say_whom(self, who: str, since: str) -> None:
        """Says for which process this one waits, once, since the two may fill many caches one after the other."""
        if who not in self._waited_for:
            self._waited_for.add(who)
            self.bar.say(
                f"waiting for {who}, which has been decoding the same images into {self.cache_root} since {since}"
            )

    def _rows(self, splits: Sequence[Split]) -> dict[CacheFile, np.ndarray]:
        """The rows (N,) that the splits take of each cache file."""
        rows: dict[CacheFile, list[np.ndarray]] = {}
        for split in splits:
            if self._is_cached(split.images):
                rows.setdefault(self._file(split.images), []).append(split.rows)
        return {file: np.concatenate(each) for file, each in rows.items()}

    def open(self, split: Split, *, from_files: bool = False) -> tuple[Pixels, np.ndarray]:
        """Returns the N images of a split, decoded, and the digests (N, 8) uint8 of their pixels.

        Item i of the images is (3, size, size) uint8, and a slice is (B, 3, size, size).

        Args:
            split: the images; with a cache, `fill` must have decoded them before.
            from_files: whether they are decoded from their files at each reading, even if they are cached.

        Raises:
            UserError: an image without cache cannot be read; the message names its file.
        """
        if id(split) not in self._opened:
            key = self._key(split, from_files)
            found = KEPT.splits.get(key) or (self._open_files(split) if from_files else self._open(split))
            if key:
                KEPT.splits[key] = found
            self._opened[id(split)] = found
        return self._opened[id(split)]

    def _key(self, split: Split, from_files: bool) -> str:
        """Returns all on which a split that is kept depends, as text; empty for one that is not."""
        images = split.images
        if not KEPT.wanted or images.fingerprint is None or (self._is_cached(images) and not from_files):
            return ""
        rows = hashlib.sha256(split.rows.tobytes()).hexdigest()
        return repr((images.name, images.fingerprint(), images.count, rows, self.size, from_files))

    def _open(self, split: Split) -> tuple[Pixels, np.ndarray]:
        if split.images.drawn and not self._is_cached(split.images):
            self.bar.begin(f"drawing {split.images.name}", len(split))
            drawn = decode(split, self.size, self.bar.advance)
            return drawn, digests(drawn)
        if self._is_cached(split.images):
            file = self._file(split.images)
            return Cached(file, split.rows), file.ready()[split.rows]
        return self._open_files(split)

    def _open_files(self, split: Split) -> tuple[Pixels, np.ndarray]:
        """Reads every image once, so that an unreadable one stops the run before it begins."""
        self.bar.begin(f"checking {split.images.name}", len(split))
        pixels = FromFiles(split, self.size)
        return pixels, digests(pixels, self.bar.advance)
