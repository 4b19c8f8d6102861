"""The training loop: Avalanche's supervised template, with a fixed number of steps for each task as in MTIL."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from avalanche.logging import BaseLogger
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor, nn
from torch.utils.data import RandomSampler

from strategies.clip.classifier import ClipClassifier
from strategies.numerics import data_parallel
from strategies.training.loader import Loader


CHECK_EVERY = 10  # steps between checks of the loss; each reads the copy begun at the last, so the CPU never waits


class NotFinite(ArithmeticError):
    """Error: the loss or a weight became infinite or NaN.

    Args:
        what: what is not finite, `loss` or `weight`.
        step: the first step of the task, from 0, whose loss is not finite; for a weight the task's last step, since
            weights are checked after the task.
    """

    def __init__(self, what: str, step: int) -> None:
        super().__init__(f"the {what} is not finite at step {step}")
        self.what, self.step = what, step


class _Silent(BaseLogger):
    """A logger that writes nothing, since Avalanche warns when there is none; this project does its own measuring."""

    def __init__(self) -> None:
        """Does not call Avalanche's initialiser, which allows loggers only in the first of several processes."""


def task_seed(seed: int, task: int) -> int:
    """Returns the seed of all randomness in a task, in 0..2^63 - 1, a function of its arguments alone.

    So a resumed run needs no saved generator state.

    Args:
        seed: the run's seed.
        task: the task's index.
    """
    return (seed * 1_000_003 + task * 7_919 + 1) % 2**63


def learning_rate_share(step: int, steps: int, warmup: int) -> float:
    """Returns the learning rate of a step as a share of the peak, in 0..1.

    It rises linearly, (step + 1) / warmup, for `warmup` steps, then falls along half a cosine towards 0 at `steps` (the
    schedule of ZSCL, which NuSA-CL uses too).

    Args:
        step: the step within the task, from 0.
        steps: the number of steps of the task.
        warmup: the number of steps of the rise; 0 for none.
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))


class MixedCrossEntropy(nn.CrossEntropyLoss):
    """Cross-entropy for a batch of several tasks: label smoothing stays within the classes of an image's own task.

    The logits of a task with fewer classes must be padded with the dtype's minimum, as `ClipClassifier` pads them.
    Torch's own loss would smooth the label onto the padding, and reach 1e37.
    """

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Returns the mean loss over the batch, a scalar.

        Args:
            logits: (B, C), those of classes that an image's task lacks at the dtype's minimum.
            labels: (B,) int64, the class of each image within its task.
        """
        real = (logits > torch.finfo(logits.dtype).min).to(logits.dtype)  # (B, C)
        smooth = self.label_smoothing * real / real.sum(dim=1, keepdim=True)
        targets = smooth + (1 - self.label_smoothing) * F.one_hot(labels, logits.shape[1])  # (B, C)
        return F.cross_entropy(logits, targets)


class ClipTemplate(SupervisedTemplate):
    """Trains a `ClipClassifier` for `iterations` steps on each experience, with a fresh AdamW for each.

    Args:
        model, plugins, device: as in Avalanche.
        iterations: steps for each task, 0 for none; the images are reshuffled whenever all have been seen.
        batch_size: images in a step, over all processes.
        lr: the peak learning rate; it rises linearly during the warm-up, then falls along half a cosine towards 0.
        weight_decay: the weight decay of AdamW.
        label_smoothing: the share of the target that is spread over the classes of the image's task, in 0..1.
        warmup: steps until the peak of `lr`: their number if at least 1, their share of `iterations` if below 1.
        seed: the run's seed; with the task's index it determines everything random.
        threads: the number of threads that read images ahead.
        on_step_begin: called before every step, once its images have been read.
        on_step: called after every step.

    Attributes:
        losses: (iterations, 2), of each step of the current task the loss, and the batch's cross-entropy alone, without
            what the method adds; on the device, means over all processes, 0 for steps to come.
        step_lr: the learning rate of the last step.
        batch_task: the index of the task of the current batch, or None if the batch mixes tasks.
        trained_count: the number of values in the current task's trained parameters.

    Raises:
        NotFinite: while training, the loss is not finite; at most 2 `CHECK_EVERY` (20) steps after that happened.
    """

    def __init__(
        self,
        *,
        model: ClipClassifier,
        plugins: Sequence[SupervisedPlugin],
        iterations: int,
        batch_size: int,
        lr: float,
        weight_decay: float,
        warmup: float,
        label_smoothing: float,
        seed: int,
        device: torch.device,
        threads: int = 1,
        on_step_begin: Callable[[], None] = lambda: None,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(
            model=model,
            optimizer=None,  # type: ignore[arg-type]  # made anew for every task
            criterion=MixedCrossEntropy(label_smoothing=label_smoothing),
            train_mb_size=batch_size,
            device=device,
            plugins=list(plugins),
            evaluator=lambda: EvaluationPlugin(loggers=[_Silent()]),
        )
        self.iterations, self.lr, self.weight_decay, self.seed = iterations, lr, weight_decay, seed
        self.warmup, self.threads = warmup, threads
        self.on_step_begin, self.on_step = on_step_begin, on_step
        self.losses = torch.empty(0, 2)
        self.step_lr = 0.0
        self.batch_task: int | None = None
        self.trained_count = 0

    @property
    def task(self) -> int:
        """Index of the current task in the stream, from 0: the task label of the current experience."""
        return self.experience.task_label

    def trained_parameters(self) -> list[nn.Parameter]:
        """Returns the parameters of the model that require a gradient."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def _before_training_exp(self, **kwargs: Any) -> None:
        seed = task_seed(self.seed, self.task)
        torch.manual_seed(seed)  # before the plugins' hooks, which draw initial values
        random.seed(seed)  # Avalanche's A-GEM draws from Python's generator
        super()._before_training_exp(**kwargs)

    def make_train_dataloader(self, **kwargs: Any) -> None:
        """Sets `dataloader` to exactly `iterations` batches, so that one "epoch" of Avalanche is one task."""
        if not self.iterations:
            self.dataloader: Any = []  # torch's sampler cannot draw zero images
            return
        data, seed = self.adapted_dataset, task_seed(self.seed, self.task)
        number = self.iterations * self.train_mb_size
        sampler = RandomSampler(data, num_samples=number, generator=torch.Generator().manual_seed(seed))
        pin = self.device.type == "cuda"
        self.dataloader = Loader(
            data, sampler, self.train_mb_size, seed=seed, threads=self.threads, pin=pin, share=data_parallel.share()
        )

    def check_model_and_optimizer(self, **kwargs: Any) -> None:
        """Avalanche's hook before a task: prepares model and optimiser.

        It records the task as seen in the model, gives all processes the same weights, and makes a fresh optimiser.
        """
        self.model = self.model_adaptation()
        data_parallel.same_everywhere(self.model)
        self.make_optimizer()

    def make_optimizer(self, **kwargs: Any) -> None:
        """Sets `optimizer` to a fresh AdamW over the parameters that require a gradient, and `schedule` to a scheduler.

        The scheduler sets the learning rate of each step. Nothing is set if no parameter requires a gradient. Stock
        Avalanche would give the optimiser every parameter.
        """
        parameters = self.trained_parameters()
        self.trained_count = sum(parameter.numel() for parameter in parameters)
        if parameters:
            # The fused implementation passes over each parameter once instead of a dozen times.
            self.optimizer = torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay, fused=True)
            warmup = round(self.warmup * self.iterations if self.warmup < 1 else self.warmup)
            self.schedule = torch.optim.lr_scheduler.LambdaLR(
                self.optimizer, lambda step: learning_rate_share(step, self.iterations, warmup)
            )

    def training_epoch(self, **kwargs: Any) -> None:
        """Trains the task's steps; does nothing where no parameter is trained."""
        if self.trained_parameters():
            self.losses = torch.zeros(self.iterations, 2, device=self.device)
            self._look: Callable[[], None] = lambda: None
            super().training_epoch(**kwargs)

    def _unpack_minibatch(self) -> None:
        # Read while the labels are on the CPU: reading them from the device would make it wait at every step.
        labels = set(self.mbatch[-1].tolist())
        self.batch_task = labels.pop() if len(labels) == 1 else None
        super()._unpack_minibatch()
        self.on_step_begin()

    def forward(self) -> Tensor:
        """Returns the logits (B, C) of the current batch over the classes of each image's own task.

        If a plugin (replay) mixes tasks in the batch, C is the largest number of classes, and rows of tasks with fewer
        are padded with the dtype's minimum.
        """
        return self.model(self.mb_x, self.mb_task_id if self.batch_task is None else self.batch_task)

    def criterion(self) -> Tensor:
        """Returns the mean cross-entropy of the current batch, with label smoothing, as a scalar."""
        if self.batch_task is None:
            found = self._criterion(self.mb_output, self.mb_y)
        else:
            found = F.cross_entropy(self.mb_output, self.mb_y, label_smoothing=self._criterion.label_smoothing)
        self.losses[self.clock.train_exp_iterations, 1] = found.detach()
        return found

    def optimizer_step(self) -> None:
        """Averages the gradients over the processes, checks past losses, and takes a step of optimiser and schedule.

        Raises:
            NotFinite: a loss of this task, up to 20 steps ago, is infinite or NaN.
        """
        step = self.clock.train_exp_iterations
        self.losses[step, 0] = self.loss.detach()
        gradients = (parameter.grad for parameter in self.optimizer.param_groups[0]["params"])
        data_parallel.average([gradient for gradient in gradients if gradient is not None] + [self.losses[step]])
        if (step + 1) % CHECK_EVERY == 0 or step + 1 == self.iterations:
            self._look()
            self._look = self._start_look(step)
        if step + 1 == self.iterations:
            self._look()
        self.step_lr = self.optimizer.param_groups[0]["lr"]
        super().optimizer_step()
        self.schedule.step()
        self.on_step()

    def _start_look(self, step: int) -> Callable[[], None]:
        """Starts to copy the losses to the CPU while the device computes on; returns a function to check the copy."""
        losses = self.losses[: step + 1, 0].to("cpu", non_blocking=True)  # (step + 1,)
        copied = torch.cuda.Event() if self.device.type == "cuda" else None
        if copied:
            copied.record()

        def look() -> None:
            if copied:
                copied.synchronize()
            bad = ~losses.isfinite()
            if bad.any():
                raise NotFinite("loss", int(bad.nonzero()[0]))

        return look

    def check_weights(self) -> None:
        """Checks, after a task, that all weights are finite.

        The loss shows neither the effect of the last step nor that of merging.

        Raises:
            NotFinite: a weight is infinite or NaN; its `step` is the last one of the task.
        """
        if not all(parameter.isfinite().all() for parameter in self.model.parameters()):
            raise NotFinite("weight", self.iterations - 1)
