"""The way from the image files to the model: building and reading the cache, evaluation, memory."""

import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.perf.timing import best


def make_photographs(folder: Path, count: int) -> Any:
    """A split of made JPEGs of a photograph's size (500 x 375) and smoothness; without a person in them."""
    import numpy as np
    from PIL import Image

    from benchmarks.streams import Images, Split

    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        fine = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC)) + rng.normal(0, 8, (375, 500, 3))
        Image.fromarray(fine.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=90)
    files = sorted(folder.iterdir())
    images = Images("perf", count, lambda row: Image.open(files[row]), lambda row: str(files[row]), lambda: "perf")
    return Split(images, np.arange(count), np.zeros(count, dtype=np.int64))


def cache_ratios(split: Any, place: Path, size: int) -> dict[str, float]:
    """Building the cache against plain decoding and resizing on all cores; reading it against decoding, on one."""
    from benchmarks.cache import Cached, CacheFile
    from benchmarks.images import check, decode_one

    def build(round_: int) -> None:
        CacheFile(place / str(round_), split.images, size).fill(split.rows)

    plain, built = best(lambda _: check(split, size), build)
    cached = Cached(CacheFile(place / "0", split.images, size), split.rows)
    few = range(min(200, len(split)))
    decoding, reading = best(
        lambda _: [decode_one(split.images, row, size) for row in few],
        lambda _: [cached[row] for row in few],
    )
    return {
        "plain_decoding_images_per_second": len(split) / plain,
        "building_cache_images_per_second": len(split) / built,
        "building_over_plain_decoding": built / plain,
        "decoding_ms_per_image": 1000 * decoding / len(few),
        "reading_cache_ms_per_image": 1000 * reading / len(few),
        "decoding_over_reading": decoding / reading,
    }


@contextmanager
def model_clock(clip: Any) -> Any:
    """Yields a list whose sum is the time spent inside the model's two towers."""
    spent: list[float] = []

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*arguments: Any, **options: Any) -> Any:
            began = time.perf_counter()
            result = call(*arguments, **options)
            spent.append(time.perf_counter() - began)
            return result

        return inner

    clip.encode_image, clip.encode_text = timed(clip.encode_image), timed(clip.encode_text)
    yield spent
    del clip.encode_image, clip.encode_text


def evaluation_share(split: Any, place: Path, model: str, size: int) -> dict[str, float]:
    """Share of an evaluation's time that is spent inside the model, random weights, images out of the cache."""
    import open_clip
    import torch

    from benchmarks.cache import Cached, CacheFile
    from benchmarks.evaluate import EvaluationSet, evaluate
    from strategies.parts.classifier import ClipClassifier

    clip = open_clip.create_model(model, load_weights=False)
    cached = Cached(CacheFile(place / "0", split.images, size), split.rows)
    names = [("cat", "dog")]
    prompts = open_clip.get_tokenizer(model)([f"a photo of a {name}." for name in names[0]])[None]  # (1, 2, L)
    classifier = ClipClassifier(clip, [prompts], (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    with model_clock(clip) as spent:
        began = time.perf_counter()
        evaluate(classifier, [EvaluationSet(cached, torch.from_numpy(split.labels))], names, torch.device("cpu"))
        total = time.perf_counter() - began
    return {"evaluation_images": len(split), "evaluation_seconds": total, "share_inside_model": sum(spent) / total}


def reading_memory(place: Path, size: int, counts: tuple[int, ...]) -> dict[str, int]:
    """Most memory, in bytes, that reading whole caches of these numbers of images takes beyond what the process had before."""
    import numpy as np

    from benchmarks.cache import Cached, CacheFile
    from benchmarks.cost import resident_bytes
    from benchmarks.streams import Images

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


def measure(images: int, evaluated: int, model: str, place: Path) -> dict[str, Any]:
    """All figures of this part, by name; files are made below `place`."""
    import numpy as np

    (place / "photographs").mkdir()
    split = make_photographs(place / "photographs", images)
    from benchmarks.backbones import image_size

    size = image_size(model)
    return {
        **cache_ratios(split, place, size),
        **reading_memory(place / "memory", size, (1000, 8000)),
        **evaluation_share(split.take(np.arange(min(evaluated, images))), place, model, size),
    }
