"""What a step of a method costs beside the parts that it can't do without, and what its evaluation costs beside zero-shot.

Random weights and pictures; the ratios depend on neither.
"""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor

from benchmarks.perf.setting import STEPS, Setting
from benchmarks.perf.timing import Laps, best
from strategies import moe_adapter, zscl
from strategies.parts.classifier import ClipClassifier


ROUNDS = 3  # the first also pays for memory that is touched for the first time
EVALUATED = 128  # images: a batch of the evaluation, whose features vote on the router


def _backward(features: Tensor) -> None:
    features.sum().backward()


def zscl_over_parts(setting: Setting) -> dict[str, float]:
    """A ZSCL step over: student forward and backward on task and reference images and on prompts, teacher forward."""
    plugin = zscl.Plugin(zscl.Settings())
    setting.refer(plugin)
    student = setting.classifier
    plugin.begin(student)
    teacher = deepcopy(student).requires_grad_(False)

    steps, laps = Laps(), Laps()

    def parts() -> None:
        laps.begin()
        for _ in range(STEPS):
            student.zero_grad()
            _backward(student.encode_images(setting.batch))
            _backward(student.encode_images(setting.batch))
            _backward(student.training_features(0))
            with torch.no_grad():
                teacher.encode_images(setting.batch)
            laps.mark()

    student.train()
    learn = setting.training(plugin, steps.mark)
    for round_ in range(ROUNDS):
        steps.last = None  # so that the first step, which also pays for what surrounds a task, counts for nothing
        learn(round_)
        parts()
    return {"zscl_step_seconds": steps.shortest, "zscl_step_over_parts": steps.shortest / laps.shortest}


def moe_over_floor(setting: Setting, place: Path) -> dict[str, float]:
    """A MoE step over forward and input-gradient of both towers; its evaluation over zero-shot, with AlexNet's features."""
    weights = place / "alexnet.pt"
    torch.save(torchvision.models.alexnet().state_dict(), weights)
    plain = deepcopy(setting.classifier).requires_grad_(False)
    plugin = moe_adapter.Plugin(moe_adapter.Settings(alexnet=str(weights), autoencoder_steps=1, reference_steps=1))
    plugin.begin(setting.classifier)
    learn = setting.training(plugin)
    learn(0)
    inputs = (plain.clip.visual.positional_embedding, plain.clip.positional_embedding)  # what comes before the blocks

    def floor(_round: int) -> None:
        for tensor in inputs:
            tensor.requires_grad_(True)
        for _ in range(STEPS):
            _backward(plain.encode_images(setting.batch))
            _backward(plain.training_features(0))
        plain.requires_grad_(False)

    images = setting.images.repeat(-(-EVALUATED // len(setting.images)), 1, 1, 1)[:EVALUATED]  # (128, 3, S, S)

    def evaluate(classifier: ClipClassifier) -> Callable[[int], None]:
        classifier.eval().union_logits(setting.batch)  # the prompts' features, which stay

        def run(_round: int) -> None:
            with torch.no_grad():
                classifier.union_logits(images)

        return run

    step, least = best(learn, floor, rounds=ROUNDS)
    as_after_eleven_tasks(plugin, images)
    routed, bare = best(evaluate(setting.classifier), evaluate(plain), rounds=ROUNDS)
    return {
        "moe_step_seconds": step / STEPS,
        "moe_step_over_floor": step / least,
        "moe_evaluation_over_zero_shot": routed / bare,
    }


@torch.no_grad()
def as_after_eleven_tasks(plugin: moe_adapter.Plugin, images: Tensor) -> None:
    """Twelve auto-encoders, of which the first task's is the best, so that its router and experts answer for the images."""
    plugin.threshold, best_one = None, plugin.autoencoders["0"]
    for route in (moe_adapter.ORIGINAL, *range(1, 11)):
        worse: Any = deepcopy(best_one)
        worse.decode.bias += 10.0
        plugin.autoencoders[str(route)] = worse
    assert not plugin.choose(images).any(), "the first task's router is to answer"


def measure(model: str, batch_size: int, classes: int, place: Path) -> dict[str, Any]:
    """All figures of this part, by name."""
    return {
        "batch_size": batch_size,
        "classes": classes,
        **zscl_over_parts(Setting(model, batch_size, classes)),
        **moe_over_floor(Setting(model, batch_size, classes), place),
    }
