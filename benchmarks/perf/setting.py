"""What the speed and memory of a method's step are measured on: a model with random weights and made pictures."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.backbones.loading import random_backbone, tokenize_prompts
from benchmarks.perf.timing import Laps
from strategies.base import StrategyPlugin
from strategies.clip.classifier import ClipClassifier
from strategies.clip.weight_matrices import blocks, root
from strategies.numerics.precision import set_tf32
from strategies.training.experiences import LabelledImages, make_benchmark
from strategies.training.template import ClipTemplate


STEPS = 3  # of a training, of which the first is not counted: it also pays for what surrounds a task
LOOP: dict[str, Any] = {"lr": 1e-5, "weight_decay": 0.0, "warmup": 0.0, "label_smoothing": 0.2, "seed": 0}


class Setting:
    """A model with random weights, one task of made pictures, and prompts for it.

    Args:
        classes: of the task; each has a prompt of twelve to fourteen tokens.
        steps: of a training.

    Raises:
        UserError: a model that open_clip does not have, or none of a kind that the strategies adapt.
    """

    def __init__(self, model: str, batch_size: int, classes: int, device: str = "cpu", steps: int = STEPS) -> None:
        set_tf32(False)
        torch.manual_seed(0)
        self.model, self.batch_size, self.steps, self.device = model, batch_size, steps, torch.device(device)
        backbone, sign = random_backbone(model), ("a photo of the number {}, a kind of sign.",)
        prompts = tokenize_prompts(backbone, tuple(map(str, range(classes))), sign)  # (1, C, L)
        self.classifier = ClipClassifier(backbone.clip, [prompts], backbone.mean, backbone.std).to(self.device)
        side = backbone.size
        self.images = torch.randint(0, 256, (steps * batch_size, 3, side, side), dtype=torch.uint8)
        self.data = LabelledImages(self.images, torch.arange(len(self.images)) % classes)

    @property
    def batch(self) -> Tensor:
        """(B, 3, S, S), on the device."""
        return self.images[: self.batch_size].to(self.device)

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    @contextmanager
    def clocked(self, owner: Any, *methods: str) -> Iterator[list[float]]:
        """Yields a list whose sum is the time spent inside these methods of an object."""
        spent: list[float] = []

        def inner(call: Callable[..., Any]) -> Callable[..., Any]:
            def timed(*arguments: Any, **options: Any) -> Any:
                self.wait()
                began = time.perf_counter()
                result = call(*arguments, **options)
                self.wait()
                spent.append(time.perf_counter() - began)
                return result

            return timed

        for method in methods:
            setattr(owner, method, inner(getattr(owner, method)))
        try:
            yield spent
        finally:
            for method in methods:
                delattr(owner, method)

    def template(self, plugin: StrategyPlugin, on_step: Callable[[], None] = lambda: None) -> ClipTemplate:
        """The harness's own loop, for a few steps.

        Args:
            on_step: called after each.
        """
        return ClipTemplate(
            model=self.classifier, plugins=plugin.plugins(), iterations=self.steps, batch_size=self.batch_size,
            device=self.device, on_step=on_step, **LOOP,
        )  # fmt: skip

    def training(self, template: ClipTemplate) -> Callable[[], None]:
        """Its steps, what surrounds a task included as little as can be."""
        (experience,) = make_benchmark([self.data]).train_stream

        def train() -> None:
            template.clock.train_exp_counter = 0
            template.train(experience)

        return train

    def step(self, plugin: StrategyPlugin) -> Callable[[], float]:
        """Trains a little and tells the seconds of a step, the mean of all but the first."""
        train = self._clocked_training(plugin, {})
        return lambda: statistics.mean(train()["step"])

    def beside(
        self, plugin: StrategyPlugin, others: Mapping[str, Callable[[], None]], trainings: int = 1
    ) -> dict[str, list[float]]:
        """Seconds of each step of some trainings, as `step`, and of each other piece of work, done once after every step.

        In turns as short as that, a slow spell of the machine meets all alike. A training's first step counts for none.
        """
        train = self._clocked_training(plugin, others)
        found: dict[str, list[float]] = defaultdict(list)
        for _ in range(trainings):
            for name, seconds in train().items():
                found[name] += seconds
        return found

    def _clocked_training(
        self, plugin: StrategyPlugin, others: Mapping[str, Callable[[], None]]
    ) -> Callable[[], dict[str, list[float]]]:
        """Begins a method; what comes back trains once and tells what `beside` tells."""
        self.refer(plugin)
        plugin.begin(self.classifier)
        laps = Laps()

        def on_step() -> None:
            self.wait()
            laps.mark("step")
            for name, work in others.items():
                work()
                self.wait()
                laps.mark(name)

        train = self.training(self.template(plugin, on_step))

        def run() -> dict[str, list[float]]:
            laps.begin()
            train()
            return {name: seconds[-(self.steps - 1) :] for name, seconds in laps.seconds.items()}

        return run

    def floor(self, *, copies: bool = False) -> Callable[[], None]:
        """Forward and input-gradient of both towers, all weights frozen: what every method that learns in all blocks needs.

        Args:
            copies: with torch's own attention, which copies q, k and v, as open_clip has it: no lower bound then, since
                no strategy has it here.
        """
        plain = deepcopy(self.classifier).requires_grad_(False)
        for tower in ("image", "text"):
            # Of what comes before the blocks: the gradient goes through all of them, and to no weight of theirs.
            root(plain.clip, tower).positional_embedding.requires_grad_(True)
            for block in blocks(plain.clip, tower) if copies else []:
                block.attn.__class__ = nn.MultiheadAttention

        def step() -> None:
            plain.encode_images(self.batch).sum().backward()
            plain.training_features(0).sum().backward()

        return step

    def refer(self, plugin: Any) -> None:
        """Gives a plugin the same pictures as reference images, and the prompts as texts."""
        plugin.reference_images, plugin.reference_texts = self.images, self.classifier.tokens(0)[0].cpu()
