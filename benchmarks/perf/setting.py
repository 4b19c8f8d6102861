"""The model and data of the measurements: random weights, random images, and prompts."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.experiment.backbones.loading import random_backbone, tokenize_prompts
from benchmarks.perf.timing import Laps
from strategies.base import StrategyPlugin
from strategies.clip.classifier import ClipClassifier
from strategies.clip.weight_matrices import blocks, root
from strategies.numerics.precision import set_tf32
from strategies.training.experiences import LabelledImages, make_benchmark
from strategies.training.template import ClipTemplate


STEPS = 3  # of a training; the first is not counted, since it includes the work before a task
LOOP: dict[str, Any] = {"lr": 1e-5, "weight_decay": 0.0, "warmup": 0.0, "label_smoothing": 0.2, "seed": 0}


@contextmanager
def one_thread() -> Iterator[None]:
    """Context in which torch computes with one thread, as a run of a sweep does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def operations(work: Callable[[], object]) -> int:
    """Returns the floating-point operations of the matrix products, convolutions and attention in some work.

    Args:
        work: it is done once; what it returns is ignored.
    """
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def whole(classifier: ClipClassifier) -> ClipClassifier:
    """Returns a copy of a model that computes every token of its last blocks, and every prompt for itself.

    Args:
        classifier: the model, not in use by a method.
    """
    copy = deepcopy(classifier)
    for tower in ("image", "text"):
        blocks(copy.clip, tower)[-1].__class__ = ResidualAttentionBlock
    return copy


class Setting:
    """A model with random weights, and one task of random images and prompts.

    Args:
        model: name of an open_clip model.
        batch_size: images in a training step.
        classes: number of classes; each has a prompt of twelve to fourteen tokens.
        device: `cpu` or `cuda`.
        steps: number of steps of a training; the first is never timed, since it includes the work before a task.

    Attributes:
        model, batch_size, steps: the arguments.
        device: the torch device.
        classifier: the model, on the device.
        images: (steps * batch_size, 3, S, S) uint8, on the CPU.
        data: the images with their labels, for training.

    Raises:
        UserError: open_clip does not have the model, or the strategies cannot adapt it.
    """

    def __init__(self, model: str, batch_size: int, classes: int, device: str = "cpu", steps: int = STEPS) -> None:
        set_tf32(False)
        torch.manual_seed(0)
        self.model, self.batch_size, self.steps, self.device = model, batch_size, steps, torch.device(device)
        backbone, sign = random_backbone(model), ("a photo of the number {}, a kind of sign.",)
        prompts = tokenize_prompts(backbone.tokenize, list(map(str, range(classes))), sign)  # (1, C, L)
        self.classifier = ClipClassifier(backbone.clip, [prompts], backbone.mean, backbone.std).to(self.device)
        side = backbone.size
        self.images = torch.randint(0, 256, (steps * batch_size, 3, side, side), dtype=torch.uint8)
        self.data = LabelledImages(self.images, torch.arange(len(self.images)) % classes)

    @property
    def batch(self) -> Tensor:
        """The first `batch_size` images, (B, 3, S, S) uint8, copied to the device."""
        return self.images[: self.batch_size].to(self.device)

    def wait(self) -> None:
        """Blocks until the GPU has finished all queued work; returns at once on a CPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    @contextmanager
    def clocked(self, owner: Any, *methods: str) -> Iterator[list[float]]:
        """Context manager that times all calls of some methods of an object.

        It yields a list to which each call appends its seconds, in the order in which the calls end.

        Args:
            owner: the object; its methods are wrapped until the context ends.
            methods: the names of the methods.
        """
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
        """Returns the Avalanche strategy that trains the setting's model with a method, as in a run.

        Args:
            plugin: the method.
            on_step: called without arguments after each step.
        """
        return ClipTemplate(
            model=self.classifier, plugins=plugin.plugins(), iterations=self.steps, batch_size=self.batch_size,
            device=self.device, on_step=on_step, **LOOP,
        )  # fmt: skip

    def training(self, template: ClipTemplate) -> Callable[[], None]:
        """Returns a function that trains the setting's task for its number of steps, each time as a run's first task.

        Args:
            template: the Avalanche strategy to train with, made by the method `template`.
        """
        (experience,) = make_benchmark([self.data]).train_stream

        def train() -> None:
            template.clock.train_exp_counter = 0
            template.train(experience)

        return train

    def step(self, plugin: StrategyPlugin) -> Callable[[], float]:
        """Returns a function that trains the task once and returns the mean seconds of a step, the first left out.

        Args:
            plugin: the method; its `begin` has not been called yet.
        """
        train = self._clocked_training(plugin, {})
        return lambda: statistics.mean(train()["step"])

    def beside(
        self, plugin: StrategyPlugin, others: Mapping[str, Callable[[], None]], trainings: int = 1
    ) -> dict[str, list[float]]:
        """Trains the task, does other pieces of work after every step, and returns the seconds of all.

        Because they alternate, a slow phase of the machine affects all alike. The result has the key `step` and the
        names in `others`; each list has `steps` - 1 numbers for each training, since the first step is left out.

        Args:
            plugin: the method; its `begin` has not been called yet.
            others: the other pieces of work by name; each is done once after every step.
            trainings: how often the task is trained.
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
        """Returns a function that trains once and returns the seconds of `beside`."""
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
        """Returns a function that does the least work a training step can have, its lower bound.

        This is the forward pass and input-gradient of both towers with frozen weights, on one batch and all prompts, of
        all tokens up to the end of the longest prompt. Every method that adapts all blocks needs at least this, but for
        what the model itself leaves out: tokens that decide nothing, and those that all prompts share.

        Args:
            copies: uses torch's own attention, as open_clip does, which copies q, k and v and so is slower; by default
                this project's attention.
        """
        plain = whole(self.classifier).requires_grad_(False)
        for tower in ("image", "text"):
            # The gradient of an input of the blocks passes through all of them, but computes none for their weights.
            root(plain.clip, tower).positional_embedding.requires_grad_(True)
            for block in blocks(plain.clip, tower) if copies else []:
                block.attn.__class__ = nn.MultiheadAttention

        def step() -> None:
            plain.encode_images(self.batch).sum().backward()
            plain.training_features(0).sum().backward()

        return step

    def refer(self, plugin: Any) -> None:
        """Gives a method the task's images as auxiliary images, and the tokens of its prompts as auxiliary texts.

        Args:
            plugin: the method; its `reference_images` and `reference_texts` are set.
        """
        plugin.reference_images, plugin.reference_texts = self.images, self.classifier.tokens(0)[0].cpu()
