"""Avalanche's experience replay: stored images of past tasks in every batch.

`ReplayPlugin` of avalanche-lib with its usual memory (`ExperienceBalancedBuffer`): `mem_size` images in all, the same number
of each task, drawn at random when the task ends and thinned when another does. From the second task on a step takes a batch of
the task's images and one of stored images, each of the run's batch size, and the mean of the loss goes over both; so it costs
twice a step of fine-tuning. Whenever all stored images have been taken, a batch has what is left of them.

Carried: the stored images as pixels (uint8) and their labels.

Fidelity: the stock plugin. Its own loader makes one epoch; so that this is exactly the steps of the run, the task's
images are given to it as often as the run takes them (each as often as the others, plus or minus one). Each image has the
logits of its own task's prompts, and label smoothing goes over its own task's classes alone. The memory differs from
Avalanche's in one thing: it does not go through a deprecated method.
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
    """Default: Avalanche's."""

    mem_size: int = Field(
        default=200,
        ge=1,
        description="images that are kept, of all tasks together",
        json_schema_extra={"unit": "images"},
    )


class Memory(ExperienceBalancedBuffer):
    """Avalanche's, without its warning at every task, which also changes the process's filter of warnings."""

    def update(self, strategy: Any, **kwargs: Any) -> None:
        self.post_adapt(strategy, strategy.experience)


class Plugin(MemoryPlugin):
    """The stock plugin and its images."""

    stock: ReplayPlugin

    def make(self) -> ReplayPlugin:
        size = self.settings.mem_size
        return ReplayPlugin(size, storage_policy=Memory(size))

    def begin(self, classifier: ClipClassifier) -> None:
        tasks = len(classifier.class_counts)
        if self.settings.mem_size < tasks:
            raise Unfit(f"--mem-size: must be at least {tasks}, one image of each task, got {self.settings.mem_size}")
        super().begin(classifier)

    def after_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if len(self.stock.storage_policy.buffer):
            data, number = strategy.adapted_dataset, strategy.iterations * strategy.train_mb_size
            generator = torch.Generator().manual_seed(task_seed(strategy.seed, strategy.task))
            strategy.adapted_dataset = data.subset(list(RandomSampler(data, num_samples=number, generator=generator)))

    # The stock plugin's loader reads by itself, so that augmentation has to be told here what to draw from.
    def before_training_epoch(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        draw.set((task_seed(strategy.seed, strategy.task), 0))

    def after_training_iteration(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        draw.set((task_seed(strategy.seed, strategy.task), strategy.clock.train_exp_iterations))

    def after_training_epoch(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        draw.set(None)

    def buffers(self) -> list[AvalancheDataset]:
        return self.stock.storage_policy.buffer_datasets

    def refill(self, buffers: list[AvalancheDataset]) -> None:
        memory = self.stock.storage_policy
        memory._num_exps = len(buffers)
        for task, (buffer, size) in enumerate(zip(buffers, memory.get_group_lengths(len(buffers)), strict=True)):
            memory.buffer_groups[task] = ReservoirSamplingBuffer(size)
            memory.buffer_groups[task].buffer = buffer
