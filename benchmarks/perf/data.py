"""Measures the cache of decoded images: the time to write and read it, and the memory that reading takes."""

import itertools
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.experiment.backbones.loading import image_size
from benchmarks.images.cache import CacheFile
from benchmarks.images.cached import Cached
from benchmarks.images.decode import check, decode_one
from benchmarks.images.sets import Images, Split
from benchmarks.perf.timing import in_turns, ratio, timed
from benchmarks.runtime.memory import resident_bytes


def make_photographs(folder: Path, count: int) -> Any:
    """Writes generated photographs into a folder as JPEG files, and returns them as a `Split`, all with the label 0.

    They have the size (500 x 375 pixels) and about the smoothness of photographs.

    Args:
        folder: an empty folder for the files `0.jpg`, `1.jpg`, ...
        count: number of photographs.
    """
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        fine = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC)) + rng.normal(0, 8, (375, 500, 3))
        Image.fromarray(fine.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=90)
    files = sorted(folder.iterdir())
    images = Images("perf", count, lambda row: Image.open(files[row]), lambda row: str(files[row]), lambda: "perf")
    return Split(images, np.arange(count), np.zeros(count, dtype=np.int64))


def cache_ratios(split: Any, place: Path, size: int) -> dict[str, Any]:
    """Returns how fast images are decoded, and how fast a cache of decoded images is written and read.

    Speeds and times are those of the fastest of five rounds; a ratio is a dict with its `median`, `low` and `high` over
    the rounds.

    Args:
        split: JPEG images with labels, as `make_photographs` returns them.
        place: a folder for the caches.
        size: side of the decoded images, in pixels.

    Returns:
        `plain_decoding_images_per_second`, `building_cache_images_per_second`: on all cores; building is decoding and
        writing.
        `building_over_plain_decoding`: the time of building / that of decoding alone.
        `decoding_ms_per_image`, `reading_cache_ms_per_image`: milliseconds, one image after the other.
        `decoding_over_reading`: the time of decoding / that of reading from the cache.
    """
    number = itertools.count()

    def build() -> None:
        CacheFile(place / str(next(number)), split.images, size).fill(split.rows)

    building = in_turns({"plain": timed(lambda: check(split, size)), "built": timed(build)})
    cached = Cached(CacheFile(place / "0", split.images, size), split.rows)
    few = range(min(200, len(split)))
    reading = in_turns(
        {
            "decoding": timed(lambda: [decode_one(split.images, row, size) for row in few]),
            "reading": timed(lambda: [cached[row] for row in few]),
        }
    )
    return {
        "plain_decoding_images_per_second": len(split) / min(building["plain"]),
        "building_cache_images_per_second": len(split) / min(building["built"]),
        "building_over_plain_decoding": ratio(building["built"], building["plain"]),
        "decoding_ms_per_image": 1000 * min(reading["decoding"]) / len(few),
        "reading_cache_ms_per_image": 1000 * min(reading["reading"]) / len(few),
        "decoding_over_reading": ratio(reading["decoding"], reading["reading"]),
    }


def in_fresh_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """Returns the result of a function called in a new process.

    There, a measurement of memory does not depend on what this process has allocated and freed before.

    Args:
        work: the function; it, its arguments and its result must be picklable.
        arguments: its positional arguments.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


def reading_memory(place: Path, size: int, counts: tuple[int, ...]) -> dict[str, int]:
    """Returns the peak memory that reading a whole cache adds to the process, in bytes.

    The keys are `reading_COUNT_images_bytes`, one for each of `counts`. The caches are files of the full size that hold
    no images.

    Args:
        place: a folder for the caches.
        size: side of the decoded images, in pixels.
        counts: numbers of images in a cache.
    """
    taken, before = {}, resident_bytes()
    for count in counts:
        images = Images("empty", count, lambda row: None, str, lambda: "empty")  # type: ignore[arg-type,return-value]
        file = CacheFile(place, images, size)
        file.folder.mkdir(parents=True)
        file._lay_out()
        cached, most = Cached(file, np.arange(count)), 0
        for first in range(0, count, 128):
            cached[first : first + 128]
            most = max(most, resident_bytes() - before)
        taken[f"reading_{count}_images_bytes"] = most
    return taken


def measure(images: int, model: str, place: Path) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part data` measures: speed and memory of the cache of decoded images.

    Args:
        images: number of generated photographs.
        model: name of an open_clip model; images are decoded at its input size.
        place: a folder for the photographs and caches.

    Returns:
        The keys of `cache_ratios` (images per second, milliseconds and ratios), and `reading_1000_images_bytes` and
        `reading_8000_images_bytes`, the memory that reading a cache of that many images adds.
    """
    (place / "photographs").mkdir()
    split = make_photographs(place / "photographs", images)
    size = image_size(model)
    return {
        **cache_ratios(split, place, size),
        **in_fresh_process(reading_memory, place / "memory", size, (1000, 8000)),
    }
