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

from benchmarks.backbones import image_size, make_tokenizer
from benchmarks.perf.timing import best
from strategies import moe_adapter, zscl
from strategies.parts.classifier import ClipClassifier
from strategies.parts.experiences import LabelledImages, make_benchmark
from strategies.parts.plugin import StrategyPlugin
from strategies.parts.template import ClipTemplate


ROUNDS, STEPS = 3, 2
MEAN = STD = (0.5, 0.5, 0.5)


class _Setting:
    """A model with random weights, one task of made pictures, and prompts for it."""

    def __init__(self, model: str, batch_size: int, classes: int) -> None:
        import open_clip

        torch.manual_seed(0)
        self.batch_size, self.device = batch_size, torch.device("cpu")
        clip = open_clip.create_model(model, load_weights=False)
        prompts = make_tokenizer(model, None, clip)(
            [f"a photo of number {label}." for label in range(classes)]
        )  # (C, L)
        self.classifier = ClipClassifier(clip, [prompts[None]], MEAN, STD)
        side = image_size(model)
        self.images = torch.randint(0, 256, (STEPS * batch_size, 3, side, side), dtype=torch.uint8)
        self.data = LabelledImages(self.images, torch.arange(len(self.images)) % classes)

    @property
    def batch(self) -> Tensor:
        """(B, 3, S, S)."""
        return self.images[: self.batch_size]

    def training(self, plugin: StrategyPlugin) -> Callable[[int], None]:
        """Seconds of STEPS steps through the template, what surrounds a task included as little as can be."""
        (experience,) = make_benchmark([self.data]).train_stream
        template = ClipTemplate(
            model=self.classifier, plugins=[plugin], iterations=STEPS, batch_size=self.batch_size, lr=1e-5,
            weight_decay=0.0, warmup=0.0, label_smoothing=0.2, seed=0, device=self.device,
        )  # fmt: skip

        def train(_round: int) -> None:
            template.clock.train_exp_counter = 0
            template.train(experience)

        return train


def _backward(features: Tensor) -> None:
    features.sum().backward()


def zscl_over_parts(setting: _Setting) -> dict[str, float]:
    """A ZSCL step over: student forward and backward on task and reference images and on prompts, teacher forward."""
    plugin = zscl.Plugin(zscl.Settings())
    plugin.reference_images, plugin.reference_texts = setting.images, setting.classifier.tokens(0)[0]
    student = setting.classifier
    plugin.begin(student)
    teacher = deepcopy(student).requires_grad_(False)

    def parts(_round: int) -> None:
        for _ in range(STEPS):
            student.zero_grad()
            _backward(student.encode_images(setting.batch))
            _backward(student.encode_images(setting.batch))
            _backward(student.training_features(0))
            with torch.no_grad():
                teacher.encode_images(setting.batch)

    student.train()
    step, floor = best(setting.training(plugin), parts, rounds=ROUNDS)
    return {"zscl_step_seconds": step / STEPS, "zscl_step_over_parts": step / floor}


def moe_over_floor(setting: _Setting, place: Path) -> dict[str, float]:
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

    def evaluate(classifier: ClipClassifier) -> Callable[[int], None]:
        classifier.eval().union_logits(setting.batch)  # the prompts' features, which stay

        def run(_round: int) -> None:
            with torch.no_grad():
                classifier.union_logits(setting.images)

        return run

    step, least = best(learn, floor, rounds=ROUNDS)
    routed, bare = best(evaluate(setting.classifier), evaluate(plain), rounds=ROUNDS)
    return {
        "moe_step_seconds": step / STEPS,
        "moe_step_over_floor": step / least,
        "moe_evaluation_over_zero_shot": routed / bare,
    }


def measure(model: str, batch_size: int, classes: int, place: Path) -> dict[str, Any]:
    """All figures of this part, by name."""
    return {
        "batch_size": batch_size,
        "classes": classes,
        **zscl_over_parts(_Setting(model, batch_size, classes)),
        **moe_over_floor(_Setting(model, batch_size, classes), place),
    }
