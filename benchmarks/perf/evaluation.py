"""Measures the share of evaluation that is spent in the two towers, and its time relative to encoding by open_clip."""

from typing import Any

import torch

from benchmarks.experiment.backbones.loading import random_backbone
from benchmarks.experiment.evaluation import BATCH, EvaluationSet, evaluate
from benchmarks.perf.setting import Setting
from benchmarks.perf.timing import in_turns, ratio, timed


def measure(model: str, batch_size: int, classes: int, evaluated: int, device: str) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part evaluation` measures: zero-shot evaluation of random images.

    The images are in memory as decoded pixels, so decoding is not timed.

    Args:
        model: name of an open_clip model.
        batch_size: images in a training step; it does not affect the result.
        classes: number of classes, with one prompt each.
        evaluated: number of images.
        device: `cpu` or `cuda`.

    Returns:
        `evaluation_share_inside_towers`: share of evaluation's time spent in the image and the text tower, 0 to 1.
        `evaluation_over_open_clip`: the time of evaluation / that in which open_clip's own model encodes the same images
        and prompts, as a dict with `median`, `low` and `high` over five rounds.
        `evaluation_images_per_second`: in the fastest round.
    """
    setting = Setting(model, batch_size, classes, device)
    classifier = setting.classifier.eval()
    side = setting.images.shape[-1]
    pixels = torch.randint(0, 256, (evaluated, 3, side, side), dtype=torch.uint8)
    names = [tuple(map(str, range(classes)))]
    tests = [EvaluationSet(pixels, torch.arange(evaluated) % classes)]

    bare: Any = random_backbone(model).clip.to(setting.device).eval()

    def encode() -> None:
        with torch.no_grad():
            bare.encode_text(classifier.tokens(0)[0])
            for batch in pixels.split(BATCH):
                bare.encode_image((batch.to(setting.device).float() / 255 - classifier.mean) / classifier.std)
        setting.wait()

    def whole() -> None:
        evaluate(classifier, tests, names, setting.device)

    seconds = in_turns({"whole": timed(whole), "open_clip": timed(encode)})
    with setting.clocked(classifier, "encode_images", "encode_texts") as spent:
        total = timed(whole)()
    return {
        "evaluation_share_inside_towers": sum(spent) / total,
        "evaluation_over_open_clip": ratio(seconds["whole"], seconds["open_clip"]),
        "evaluation_images_per_second": evaluated / min(seconds["whole"]),
    }
