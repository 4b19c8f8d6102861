"""What the speed and memory of a method's step are measured on: a model with random weights and made pictures."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.backbones import image_size, make_tokenizer
from strategies.parts.classifier import ClipClassifier
from strategies.parts.experiences import LabelledImages, make_benchmark
from strategies.parts.plugin import StrategyPlugin
from strategies.parts.template import ClipTemplate


STEPS = 3  # in a row, so that what surrounds a task weighs little; a published task has a thousand
MEAN = STD = (0.5, 0.5, 0.5)


class Setting:
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

    def training(self, plugin: StrategyPlugin, on_step: Callable[[], None] = lambda: None) -> Callable[[int], None]:
        """STEPS steps through the template, what surrounds a task included as little as can be.

        Args:
            on_step: called after each.
        """
        (experience,) = make_benchmark([self.data]).train_stream
        template = ClipTemplate(
            model=self.classifier, plugins=[plugin], iterations=STEPS, batch_size=self.batch_size, lr=1e-5,
            weight_decay=0.0, warmup=0.0, label_smoothing=0.2, seed=0, device=self.device, on_step=on_step,
        )  # fmt: skip

        def train(_round: int) -> None:
            template.clock.train_exp_counter = 0
            template.train(experience)

        return train

    def refer(self, plugin: Any) -> None:
        """Gives a plugin the same pictures as reference images, and the prompts as texts."""
        plugin.reference_images, plugin.reference_texts = self.images, self.classifier.tokens(0)[0]
