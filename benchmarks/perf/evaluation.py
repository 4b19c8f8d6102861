"""How much of an evaluation is spent inside the two towers, and what it takes beside the bare image tower."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.evaluate import BATCH, EvaluationSet, evaluate
from benchmarks.perf.setting import Setting
from benchmarks.perf.timing import in_turns, ratio, timed


ROUNDS = 3


@contextmanager
def model_clock(setting: Setting) -> Iterator[list[float]]:
    """Yields a list whose sum is the time spent inside the model's two towers."""
    spent: list[float] = []
    clip = setting.classifier.clip

    def clocked(call: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*arguments: Any, **options: Any) -> Any:
            setting.wait()
            began = time.perf_counter()
            result = call(*arguments, **options)
            setting.wait()
            spent.append(time.perf_counter() - began)
            return result

        return inner

    clip.encode_image, clip.encode_text = clocked(clip.encode_image), clocked(clip.encode_text)
    yield spent
    del clip.encode_image, clip.encode_text


def measure(model: str, batch_size: int, classes: int, images: int, device: str) -> dict[str, Any]:
    """Evaluation of this many images in memory over the image tower alone on the same images."""
    setting = Setting(model, batch_size, classes, device)
    classifier = setting.classifier.eval()
    side = setting.images.shape[-1]
    pixels = torch.randint(0, 256, (images, 3, side, side), dtype=torch.uint8)
    names = [tuple(map(str, range(classes)))]
    tests = [EvaluationSet(pixels, torch.arange(images) % classes)]

    def bare() -> None:
        with torch.no_grad():
            for batch in pixels.split(BATCH):
                classifier.clip.encode_image(
                    (batch.to(setting.device).float() / 255 - classifier.mean) / classifier.std
                )
        setting.wait()

    def whole() -> None:
        evaluate(classifier, tests, names, setting.device)

    seconds = in_turns({"whole": timed(whole), "bare": timed(bare)}, ROUNDS)
    with model_clock(setting) as spent:
        total = timed(whole)()
    return {
        "evaluation_share_inside_towers": sum(spent) / total,
        "evaluation_over_bare_image_tower": ratio(seconds["whole"], seconds["bare"]),
        "evaluation_images_per_second": images / min(seconds["whole"]),
    }
