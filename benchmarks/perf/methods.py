"""Measures ZSCL's and MoE-Adapters' steps relative to their necessary parts, and MoE-Adapters' evaluation relative to
zero-shot.

Weights and images are random; the ratios do not depend on them.
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


ROUNDS = 3  # of evaluation; the first also allocates memory
EVALUATED = 128  # images in a batch of evaluation, which is routed as a whole
MOE = {"autoencoder_steps": 1, "reference_steps": 1}


def zscl_over_parts(setting: Setting) -> dict[str, Any]:
    """Returns the time of a ZSCL step relative to its necessary parts.

    The parts are the student's forward and backward pass on task images, auxiliary images and prompts, and the
    teacher's forward pass on the auxiliary images.

    Args:
        setting: the model, with random weights, and a task of random images.

    Returns:
        `zscl_step_seconds`: seconds of the fastest step.
        `zscl_step_over_parts`: the time of a step / that of the parts, as a dict with `median`, `low` and `high` over
        the steps.
    """
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
    """Returns the time of MoE-Adapters' training step relative to its lower bound, and of its evaluation to zero-shot's.

    Ratios are dicts with `median`, `low` and `high`.

    Args:
        setting: the model, with random weights, and a task of random images; its model is changed.
        place: a folder for AlexNet's random weights.

    Returns:
        `moe_step_seconds`: seconds of the fastest step.
        `moe_step_over_floor`: the time of a step / that of forward pass and input-gradient with frozen weights.
        `moe_evaluation_over_zero_shot`: the time in which MoE-Adapters, which has learned eleven tasks and decides on
        the task by AlexNet's features, evaluates 128 images / that of zero-shot CLIP.
    """
    weights = place / "alexnet.pt"
    torch.save(torchvision.models.alexnet().state_dict(), weights)
    plain, floor = deepcopy(setting.classifier).requires_grad_(False), setting.floor()
    plugin = moe_adapter.Plugin(moe_adapter.Settings(alexnet=str(weights), autoencoder_steps=1, reference_steps=1))
    steps = setting.beside(plugin, {"floor": floor})
    images = setting.images.repeat(-(-EVALUATED // len(setting.images)), 1, 1, 1)[:EVALUATED].to(setting.device)

    def evaluate(classifier: ClipClassifier) -> Callable[[], float]:
        classifier.eval().union_logits(setting.batch)  # computes the prompts' features, which are kept

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
    """Gives MoE-Adapters the twelve auto-encoders that it has after eleven tasks: the original CLIP's and each task's.

    They are made such that the first task's reconstructs the images best, so that its router answers.

    Args:
        plugin: MoE-Adapters after its first task; changed in place.
        images: (B, 3, S, S) uint8, those that are evaluated afterwards.
    """
    plugin.threshold, best_one = None, plugin.autoencoders["0"]
    for route in (moe_adapter.ORIGINAL, *range(1, 11)):
        worse: Any = deepcopy(best_one)
        worse.decode.bias += 10.0
        plugin.autoencoders[str(route)] = worse
    assert not plugin.choose(images).any(), "the first task's router is to answer"


def measure(model: str, batch_size: int, classes: int, device: str, place: Path) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part methods` measures: ZSCL and MoE-Adapters.

    These are the training steps of both, and MoE-Adapters' evaluation. Ratios are dicts with `median`, `low` and `high`.

    Args:
        model: name of an open_clip model.
        batch_size: images in a training step.
        classes: number of classes, with one prompt each.
        device: `cpu` or `cuda`.
        place: a folder for AlexNet's random weights.

    Returns:
        `zscl_step_seconds`, `moe_step_seconds`: seconds of the fastest step.
        `zscl_step_over_parts`: the time of a step / that of the forward and backward passes that it needs.
        `moe_step_over_floor`: the time of a step / that of forward pass and input-gradient with frozen weights.
        `moe_evaluation_over_zero_shot`: the time of evaluation after eleven tasks / that of zero-shot CLIP.
    """
    return {
        **zscl_over_parts(Setting(model, batch_size, classes, device, STEPS)),
        **moe_over_floor(Setting(model, batch_size, classes, device, STEPS), place),
    }
