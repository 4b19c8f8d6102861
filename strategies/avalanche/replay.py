"""Avalanche's experience replay: stored images of past tasks in every batch.

It is `ReplayPlugin` of avalanche-lib with its usual memory (`ExperienceBalancedBuffer`): `mem_size` images in all, the
same number of each task, drawn at random when the task ends and reduced when another one does. From the second task on,
a step takes a batch of the task's images and one of stored images, each of the run's batch size, and the loss is the
mean over both; so a step costs twice one of fine-tuning. When fewer stored images are left than a batch has, the batch
has these; then all are taken again.

Storage between tasks: the stored images as pixels (uint8) and their labels.

Fidelity: Avalanche's plugin. Its own loader makes one epoch. To make this exactly the run's number of steps, the task's
images are given to it as often as the run takes them (each as often as the others, plus or minus one). Each image has
the logits of its own task's prompts, and label smoothing goes over its own task's classes alone. The memory differs
from Avalanche's in one thing: it does not call a deprecated method.
"""

from typing import Any

import torch
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.training.plugins import ReplayPlugin
from avalanche.training.storage_policy import ExperienceBalancedBuffer, ReservoirSamplingBuffer
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch.utils.data import RandomSampler

from strategies.about import PURPLE, About
from strategies.base import Unfit
from strategies.clip.classifier import ClipClassifier
from strategies.shared.avalanche_adapter import MemoryPlugin
from strategies.training.loader import draw
from strategies.training.template import task_seed


ABOUT = About(
    name="Replay",
    reference="experience replay; Avalanche's plugin",
    colour=PURPLE,
    marker="<",
)


@dataclass(frozen=True)
class Settings:
    """Settings of experience replay: how many images it keeps. The default is that of Avalanche's `ReplayPlugin`.

    Attributes:
        mem_size: the number of images stored from all tasks together; each past task has an equal part.
    """

    mem_size: int = Field(
        default=200,
        ge=1,
        description="images that are kept, of all tasks together",
        json_schema_extra={"unit": "images"},
    )


class Memory(ExperienceBalancedBuffer):
    """Avalanche's `ExperienceBalancedBuffer`, which keeps the same number of images of each task, without its warning.

    The stock class calls a deprecated method after every task, which prints a warning and changes the process's filter
    of warnings.
    """

    def update(self, strategy: Any, **kwargs: Any) -> None:
        """Adds a random sample of the last task's images, and drops earlier ones, so that all tasks have equal parts.

        Args:
            strategy: the Avalanche strategy that trains; its `experience` is the task that was just learned.
            kwargs: not used.
        """
        self.post_adapt(strategy, strategy.experience)


class Plugin(MemoryPlugin):
    """Replay: fine-tuning of all parameters with Avalanche's `ReplayPlugin`, whose stored images are kept as pixels.

    Attributes:
        stock: Avalanche's plugin, which stores images and mixes them into the batches; `begin` makes a new one.
    """

    stock: ReplayPlugin

    def make(self) -> ReplayPlugin:
        """Returns a new `ReplayPlugin` of Avalanche with this method's settings and an empty memory."""
        size = self.settings.mem_size
        return ReplayPlugin(size, storage_policy=Memory(size))

    def begin(self, classifier: ClipClassifier) -> None:
        """Begins a run without stored images.

        Args:
            classifier: the model of the run, which knows the number of tasks.

        Raises:
            Unfit: the memory (`mem_size`) holds fewer images than there are tasks.
        """
        tasks = len(classifier.class_counts)
        if self.settings.mem_size < tasks:
            raise Unfit(f"--mem-size: must be at least {tasks}, one image of each task, got {self.settings.mem_size}")
        super().begin(classifier)

    def after_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if len(self.stock.storage_policy.buffer):
            data, number = strategy.adapted_dataset, strategy.iterations * strategy.train_mb_size
            generator = torch.Generator().manual_seed(task_seed(strategy.seed, strategy.task))
            strategy.adapted_dataset = data.subset(list(RandomSampler(data, num_samples=number, generator=generator)))

    # Avalanche's loader reads by itself, so that the seed of random augmentation has to be set here.
    def before_training_epoch(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        draw.set((task_seed(strategy.seed, strategy.task), 0))

    def after_training_iteration(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        draw.set((task_seed(strategy.seed, strategy.task), strategy.clock.train_exp_iterations))

    def after_training_epoch(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        draw.set(None)

    def buffers(self) -> list[AvalancheDataset]:
        """Returns the stored images, one buffer for each past task, in learning order.

        Item i of a buffer is (image (3, S, S) uint8, label within the task, task index).
        """
        return self.stock.storage_policy.buffer_datasets

    def refill(self, buffers: list[AvalancheDataset]) -> None:
        """Replaces the stored images by those of other buffers.

        Args:
            buffers: one for each past task, in learning order; item i of each is (image (3, S, S) uint8, label within
                the task, task index).
        """
        memory = self.stock.storage_policy
        memory._num_exps = len(buffers)
        for task, (buffer, size) in enumerate(zip(buffers, memory.get_group_lengths(len(buffers)), strict=True)):
            memory.buffer_groups[task] = ReservoirSamplingBuffer(size)
            memory.buffer_groups[task].buffer = buffer
