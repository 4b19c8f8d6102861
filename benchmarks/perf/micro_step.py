"""Measures how far a training step on `micro`, which is small, is from the time of its arithmetic."""

import statistics
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.experiment.door import run
from benchmarks.experiment.measurements.base import Callback, RunState
from benchmarks.perf.setting import one_thread
from benchmarks.perf.timing import timed


STEPS = 150  # a task
FEW = 10  # a task, to count operations, which are those of every step of a task
TASKS = "arrows,clocks,colours,counting"
PRODUCT = (272, 128, 512)  # of the image tower's MLP for a batch: tokens, inputs, outputs
TIMES = 300


class _Seconds(Callback):
    """Times each step of all tasks but the first."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, run: RunState) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, run: RunState) -> None:
        if run.task:
            self.seconds.append(time.perf_counter() - self._began)


class _Operations(Callback):
    """Counts the floating-point operations of each step of all tasks but the first, which takes time."""

    def __init__(self) -> None:
        self.operations: list[int] = []

    def on_step_begin(self, run: RunState) -> None:
        self._counter = FlopCounterMode(display=False)
        self._counter.__enter__()

    def on_step_end(self, run: RunState) -> None:
        self._counter.__exit__(None, None, None)
        if run.task:
            self.operations.append(self._counter.get_total_flops())


def measure(place: Path) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part micro` measures: NuSA-CL's training step on `micro`, on one thread.

    Args:
        place: a folder for the run.

    Returns:
        `micro_step_seconds`: the time of a step from its batch to the optimiser's end, `median`, `low` and `high`.
        `micro_step_operations`: the floating-point operations of its matrix products and attention, the mean over the
            same three tasks.
        `product_operations_per_second`: the speed of one matrix product as the image tower's MLP has it.
        `micro_step_over_arithmetic`: the median of the step / the time of its operations at this speed.
    """
    with one_thread():
        timing, counting = _Seconds(), _Operations()
        for steps, watching in ((STEPS, timing), (FEW, counting)):
            run(
                "nusa",
                "micro",
                order=TASKS,
                iterations=steps,
                results=place,
                callbacks=[watching],
                plots=False,
                silent=True,
            )
        tokens, inputs, outputs = PRODUCT
        x, weight = torch.randn(tokens, inputs), torch.randn(outputs, inputs)
        product = timed(lambda: F.linear(x, weight), TIMES)
        product()
        speed = 2 * tokens * inputs * outputs / statistics.median(product() for _ in range(5))
    middle, operations = statistics.median(timing.seconds), statistics.mean(counting.operations)
    return {
        "micro_step_seconds": {"median": middle, "low": min(timing.seconds), "high": max(timing.seconds)},
        "micro_step_operations": operations,
        "product_operations_per_second": speed,
        "micro_step_over_arithmetic": middle * speed / operations,
    }
