"""Builds what a run computes with: the classifier over the prompts of all tasks, and the training template."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.config.settings import Common, for_task
from benchmarks.experiment.backbones.loading import Backbone
from benchmarks.experiment.evaluation import name_ids
from benchmarks.experiment.prompts import one_name_each, tokenized
from benchmarks.images.decode import threads
from benchmarks.streams.base import Stream
from strategies.base import Budget, StrategyPlugin
from strategies.clip.classifier import ClipClassifier
from strategies.training.template import ClipTemplate


def make_classifier(backbone: Backbone, stream: Stream) -> ClipClassifier:
    """Returns a CLIP as a classifier over the classes of all tasks of a stream, on the CPU.

    Each class is scored by the text feature of its prompts. Classes with equal names have the same number in `class_ids`.

    Args:
        backbone: the model; the classifier uses its weights, not a copy.
        stream: the tasks, in learning order.

    Raises:
        UserError: two classes of a task have the same prompt for this model.
    """
    classifier = ClipClassifier(backbone.clip, tokenized(backbone.tokenize, stream), backbone.mean, backbone.std)
    classifier.class_ids = list(name_ids(one_name_each(backbone.tokenize, stream)).split(classifier.class_counts))
    return classifier


def make_budgets(plugin: StrategyPlugin, common: Common, stream: Stream) -> list[Budget]:
    """Returns the training budget of each task, in learning order: number of steps and peak learning rate.

    The budgets are those of the settings, unless the method has its own.

    Args:
        plugin: the method.
        common: the settings of the run; `iterations` and `lr` may have values by task or data set.
        stream: the tasks.
    """

    def of(setting: Any, task: int) -> Any:
        return for_task(setting, stream.tasks[task].name, stream.tasks[task].source.dataset)

    budgets = [Budget(of(common.iterations, task), of(common.lr, task)) for task in range(len(stream.tasks))]
    return plugin.budgets(budgets, for_task(common.lr, "default", "default"))


def make_template(
    classifier: ClipClassifier,
    plugin: StrategyPlugin,
    common: Common,
    budgets: Sequence[Budget],
    on_step_begin: Callable[[], None],
    on_step_end: Callable[[], None],
) -> ClipTemplate:
    """Returns the Avalanche strategy that trains the classifier with the method's plugins.

    Args:
        classifier: the model, on its device.
        plugin: the method; it must have begun (`StrategyPlugin.begin`).
        common: the settings of the run, among them those of the optimiser.
        budgets: steps and peak learning rate of each task. The returned object has the first task's; its attributes
            `iterations` and `lr` are to be set before it trains another task.
        on_step_begin: called before every training step.
        on_step_end: called after every training step.
    """
    return ClipTemplate(
        model=classifier,
        plugins=plugin.plugins(),
        iterations=budgets[0].steps,
        batch_size=common.batch_size,
        lr=budgets[0].lr,
        weight_decay=common.weight_decay,
        warmup=common.warmup,
        label_smoothing=common.label_smoothing,
        seed=common.seed,
        device=torch.device(classifier.mean.device),
        threads=threads(),
        on_step_begin=on_step_begin,
        on_step=on_step_end,
    )
