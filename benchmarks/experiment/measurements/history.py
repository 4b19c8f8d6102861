"""The loss and the learning rate over the steps of each task, for loss curves."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.experiment.measurements.base import Measurement, RunState
from benchmarks.runs.columns import Column


EVERY = 10  # steps


class Meter(Measurement):
    """Notes every tenth step of a task, and its last: one row of `history.csv` for each.

    The losses stay on the model's device until the task has been evaluated, so that no step waits for them. There are no
    times, so that equal runs have equal files.
    """

    table = "history"
    keys = ("task", "step")
    columns = (
        Column("task", "integer", "number of the task in learning order, from 1", since="1.1"),
        Column("step", "integer", "number of the training step within the task, from 1", since="1.1"),
        Column("loss", "number", "the loss that was minimised, mean over the batch", "nats", since="1.1"),
        Column(
            "cross_entropy",
            "number",
            "the part of `loss` that every method has: cross-entropy of the batch's labels, with label smoothing",
            "nats",
            since="1.1",
        ),
        Column(
            "added",
            "number",
            "the part that the method adds, a distillation or a penalty: the difference",
            "nats",
            since="1.1",
        ),
        Column("lr", "number", "learning rate of the step", since="1.1"),
    )
    turn = 3
    number_format = "%.6g"

    def __init__(self) -> None:
        self._noted: list[tuple[int, int, float]] = []  # task, step, learning rate
        self._losses: list[Tensor] = []  # (2,) each: the loss, and its cross-entropy

    def on_step_end(self, run: RunState) -> None:
        """Notes the step just taken, if it is a tenth or the last one."""
        assert run.task is not None and run.loss is not None and run.cross_entropy is not None
        if (run.step + 1) % EVERY == 0 or run.step + 1 == run.steps:
            self._noted.append((run.task + 1, run.step + 1, run.lr))
            self._losses.append(torch.stack([run.loss, run.cross_entropy]))

    def measure(self, run: RunState) -> Iterator[dict[str, Any]]:
        """Yields one row for each step noted since the last evaluation: its task and step, both from 1, losses and rate.

        Args:
            run: the state of the run.
        """
        losses = torch.stack(self._losses).double().tolist() if self._losses else []  # (N, 2)
        for (task, step, lr), (loss, crossed) in zip(self._noted, losses, strict=True):
            yield {
                "task": task,
                "step": step,
                "loss": loss,
                "cross_entropy": crossed,
                "added": loss - crossed,
                "lr": lr,
            }
        self._noted, self._losses = [], []
