"""Joint training: all tasks are learned at once, at the first one (the usual upper bound).

At the first task all parameters of both towers, except the logit scale, are trained on the training images of every
task of the stream. Each step takes a batch (B, 3, S, S) of one task with that task's prompts. A task gets as many steps
as it would get alone, with the same images in the same batches, and the steps of all tasks are shuffled. There are
sum_t N_t steps of AdamW, with one warm-up and one cosine over all of them. So the budget is that of the sequential
methods. At the later tasks nothing is trained: every row of the accuracy matrix after the first shows the same model.

Hence Transfer of this method is no transfer, since the tasks to the right of the diagonal have been learned too; read
Last instead. There is one learning rate for all tasks: where rates are given by task, the default among them holds.

Fidelity: this is the usual upper bound of continual learning, after no authors' code. Some papers give another upper
bound, where each task is fine-tuned alone from the pretrained model; here one model learns all tasks. The method takes
its budget from this project's template, so it does not run under Avalanche's `Naive` (Avalanche has `JointTraining` for
that).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from avalanche.benchmarks.utils.utils import concat_datasets
from pydantic.dataclasses import dataclass
from torch.utils.data import RandomSampler

from strategies.about import SKY, About
from strategies.base import Budget, FullPlugin
from strategies.training.loader import Loader
from strategies.training.template import task_seed


ABOUT = About(
    name="Joint",
    reference="the usual upper bound: all tasks at once",
    colour=SKY,
    marker="^",
)


@dataclass(frozen=True)
class Settings:
    """Joint training has no settings of its own."""


class Plugin(FullPlugin):
    """Joint training: at the first task all parameters are trained on the images of all tasks, at the others nothing.

    At the first task it replaces the Avalanche strategy's loader by one over all tasks.
    """

    data_parallel = True

    def budgets(self, budgets: Sequence[Budget], lr: float) -> list[Budget]:
        """Returns the budgets: for the first task the sum of all tasks' steps at rate `lr`, for the others 0 steps.

        Args:
            budgets: the budgets that the settings give, one for each task, in learning order.
            lr: the peak learning rate of all steps.
        """
        self.steps = [budget.steps for budget in budgets]
        return [Budget(sum(self.steps), lr), *(replace(budget, steps=0) for budget in budgets[1:])]

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        super().before_train_dataset_adaptation(strategy)
        if strategy.task > 0:
            strategy.model.clip.requires_grad_(False)

    # This hook comes after the template has made its loader over the first task's images.
    def before_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if strategy.task == 0:
            stock: Loader = strategy.dataloader
            sets = [experience.dataset.train() for experience in strategy.experience.origin_stream]
            images = mixed_batches(list(map(len, sets)), self.steps, stock.batch_size, strategy.seed)
            strategy.dataloader = Loader(
                concat_datasets(sets), images, stock.batch_size,
                seed=stock.seed, threads=stock.threads, pin=stock.pin, share=stock.share,
            )  # fmt: skip


def mixed_batches(counts: Sequence[int], steps: Sequence[int], batch_size: int, seed: int) -> list[int]:
    """Returns the image indices of shuffled batches, one batch after the other; each batch has images of one task only.

    There are sum(steps) * batch_size indices. Index i of a task's images is counted on from the images of all earlier
    tasks, as in their concatenation. Within a task, images are drawn without replacement until all have been seen, then
    anew.

    Args:
        counts: the number of images of each of the T tasks.
        steps: the number of batches of each task.
        batch_size: the number of images in a batch.
        seed: the run's seed.
    """
    batches: list[list[int]] = []
    for task, (count, number) in enumerate(zip(counts, steps, strict=True)):
        generator = torch.Generator().manual_seed(task_seed(seed, task))
        first = sum(counts[:task])
        images = [first + i for i in RandomSampler(range(count), num_samples=number * batch_size, generator=generator)]
        batches += [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    order = torch.randperm(len(batches), generator=torch.Generator().manual_seed(task_seed(seed, len(counts))))
    return [image for number in order.tolist() for image in batches[number]]
