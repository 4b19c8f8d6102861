"""What a step of each method costs beside forward and input-gradient, of ZSCL and MoE-Adapters beside the parts that they
can't do without, and what MoE-Adapters' evaluation costs beside zero-shot.

Random weights and pictures; the ratios depend on neither.
"""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor

from benchmarks.perf.setting import Setting
from benchmarks.perf.step import STEPS
from benchmarks.perf.timing import in_turns, ratio, timed
from strategies import moe_adapter, zscl
from strategies.clip.classifier import ClipClassifier


ROUNDS = 3  # of evaluation; the first also pays for memory that is touched for the first time
EVALUATED = 128  # images: a batch of the evaluation, whose features vote on the router
MOE = {"autoencoder_steps": 1, "reference_steps": 1}


def zscl_over_parts(setting: Setting) -> dict[str, Any]:
    """A ZSCL step over: student forward and backward on task and reference images and on prompts, teacher forward."""
    student = deepcopy(setting.classifier).train()
    teacher = deepcopy(student).requires_grad_(False)

    def parts() -> None:
        student.zero_grad()
        student.encode_images(setting.batch).sum().backward()
        student.encode_images(setting.batch).sum().backward()
        student.training_features(0).sum().backward()
        with torch.no_grad():
            teacher.encode_images(setting.batch)

    seconds = setting.beside(zscl.Plugin(zscl.Settings()), {"parts": parts})
    return {"zscl_step_seconds": min(seconds["step"]), "zscl_step_over_parts": ratio(seconds["step"], seconds["parts"])}


def moe_over_floor(setting: Setting, place: Path) -> dict[str, Any]:
    """A MoE step over the floor; its evaluation over zero-shot, with AlexNet's features."""
    weights = place / "alexnet.pt"
    torch.save(torchvision.models.alexnet().state_dict(), weights)
    plain, floor = deepcopy(setting.classifier).requires_grad_(False), setting.floor()
    plugin = moe_adapter.Plugin(moe_adapter.Settings(alexnet=str(weights), autoencoder_steps=1, reference_steps=1))
    steps = setting.beside(plugin, {"floor": floor})
    images = setting.images.repeat(-(-EVALUATED // len(setting.images)), 1, 1, 1)[:EVALUATED].to(setting.device)

    def evaluate(classifier: ClipClassifier) -> Callable[[], float]:
        classifier.eval().union_logits(setting.batch)  # the prompts' features, which stay

        def run() -> None:
            with torch.no_grad():
                classifier.union_logits(images)
            setting.wait()

        return timed(run)

    as_after_eleven_tasks(plugin, images)
    evaluations = in_turns({"routed": evaluate(setting.classifier), "bare": evaluate(plain)}, ROUNDS)
    return {
        "moe_step_seconds": min(steps["step"]),
        "moe_step_over_floor": ratio(steps["step"], steps["floor"]),
        "moe_evaluation_over_zero_shot": ratio(evaluations["routed"], evaluations["bare"]),
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


def measure(model: str, batch_size: int, classes: int, device: str, place: Path) -> dict[str, Any]:
    """The figures of ZSCL and MoE-Adapters, by name."""
    return {
        **zscl_over_parts(Setting(model, batch_size, classes, device, STEPS)),
        **moe_over_floor(Setting(model, batch_size, classes, device, STEPS), place),
    }
