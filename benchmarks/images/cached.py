"""Reads decoded images from the cache, each compared with its digest, with few files open at once."""

import os
import weakref
from collections import deque
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from benchmarks.config.terminal import say
from benchmarks.images.cache import CacheFile
from benchmarks.images.decode import decode_one, digest


MOST_OPEN = 32  # files at once: a stream of hundreds of tasks has two for each, and some systems allow 256


class _OpenFile:
    """A file that is open for reading as long as this object exists, with its descriptor as `number`."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


class Cached:
    """A split's images, read from the cache on disk: item i is (3, size, size) uint8, a slice (B, 3, size, size).

    Every image is compared with its digest as it is read. One that differs, because the file was cut or changed since
    it was opened, is decoded anew from the image itself, and a line on stderr says so once.

    Args:
        file: the cache, in which the images have been decoded.
        rows: (N,) int64, the index in the cache of each image of the split.
    """

    def __init__(self, file: CacheFile, rows: np.ndarray) -> None:
        self.file, self.rows, self._said = file, rows, False
        self._digests = file.ready()
        self._open: _OpenFile | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: int | slice) -> Tensor:
        if isinstance(places, int):
            return self._one(int(self.rows[places]))
        rows = self.rows[places].tolist()
        out = np.empty((len(rows), *self.file.shape[1:]), dtype=np.uint8)
        for place, row in enumerate(rows):
            out[place] = self._one(row).numpy()
        return torch.from_numpy(out)

    def _stored(self, row: int) -> Tensor | None:
        """Returns an image as it is in the cache; None if the file is gone or ends before it."""
        opened = self._open
        if opened is None:
            try:
                opened = _OpenFile(self.file.pixels)
            except OSError:
                return None
            self._open = opened
            _limit_open(self)
        return self.file.stored(opened.number, row)

    def _one(self, row: int) -> Tensor:
        found = self._stored(row)
        if found is not None and digest(found) == self._digests[row].tobytes():
            return found
        if not self._said:
            self._said = True
            say(f"{self.file.pixels}: gone, cut or changed; what differs is decoded anew. Delete {self.file.folder}")
        return decode_one(self.file.images, row, self.file.size)


_opened: deque[weakref.ref[Cached]] = deque()
_opening = Lock()


def _limit_open(newest: Cached) -> None:
    """Lets the file of the split that was opened first be closed, once there are too many; it is opened anew if needed."""
    with _opening:
        _opened.append(weakref.ref(newest))
        while len(_opened) > MOST_OPEN:
            if oldest := _opened.popleft()():
                oldest._open = None
