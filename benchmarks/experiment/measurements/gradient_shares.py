"""How much of the loss's gradient lies in each weight's tail, before and after a task is learned.

For a weight W (d_out, d_in), G = dL/dW (d_out, d_in) is the gradient of the mean cross-entropy of 128 training images of the
task (all, where it has fewer), among the task's classes, without label smoothing, with the prompts of training. The images
are drawn once with a fixed seed and are the same before and after. Before: the model as the task begins. After: with the
task's update merged. U_k, V_k are the principal directions of W before the task, for both, as in `energy_shares.csv`:

    tail_tail    ||(1 - U_k U_k^T) G (1 - V_k V_k^T)||_F / ||G||_F, in 0..1
    left_tail    ||(1 - U_k U_k^T) G||_F / ||G||_F          right_tail    ||G (1 - V_k V_k^T)||_F / ||G||_F

A method that is confined to the tail can follow `tail_tail` of the gradient at most. A gradient in random directions would
have the root of (1 - k / d_out) (1 - k / d_in). Empty where the gradient is zero.

The pass is one of a copy of the model, which has its weights as they are and nothing that a method keeps beside them, such as
prompts or experts. So the training goes on as without it, with the same random numbers.

Source: Jo and Kim, arXiv 2510.21175, argue that the tail leaves room to learn; how much of the gradient that is, is this
project's question.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from benchmarks.experiment.measurements.base import Given, Measurement, RunState
from benchmarks.experiment.measurements.changes import Principal, principal
from benchmarks.experiment.measurements.energy_shares import shares
from benchmarks.experiment.measurements.spectrum import KEY_COLUMNS, KEYS, keys_of
from benchmarks.runs.columns import Column
from strategies.clip.weight_matrices import WeightMatrix, weight_matrices
from strategies.numerics.precision import full_precision
from strategies.shared.passes import gradients
from strategies.training.experiences import LabelledImages


IMAGES, SEED = 128, 0


def batch(data: LabelledImages) -> tuple[Tensor, Tensor]:
    """Returns images (B, 3, S, S) uint8 and labels (B,) int64 of a training set, B at most 128, the same at each call.

    Args:
        data: the training set.
    """
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(SEED))[:IMAGES].tolist()
    images, labels = zip(*(data[row] for row in rows), strict=True)
    return torch.stack(images), torch.tensor(labels)


def tail_shares(gradient: Tensor, before: Principal) -> dict[str, float | None]:
    """Returns the shares of a gradient's norm in the tail, on both sides, on the left and on the right; None if it is 0.

    Args:
        gradient: (d_out, d_in).
        before: the weight's principal directions.
    """
    four = shares(gradient, before.u, before.vh)
    tail, left, right = (four[name] for name in ("tail_tail", "tail_principal", "principal_tail"))
    if tail is None or left is None or right is None:
        return dict.fromkeys(("tail_tail", "left_tail", "right_tail"))
    return {"tail_tail": tail, "left_tail": (tail**2 + left**2) ** 0.5, "right_tail": (tail**2 + right**2) ** 0.5}


class Meter(Measurement):
    """Measures the gradient's shares in the tail at both ends of each task: one row of `gradient_shares.csv` per matrix.

    It keeps a second model on the device.
    """

    table = "gradient_shares"
    keys = KEYS
    columns = (
        *KEY_COLUMNS,
        Column(
            "start_tail_tail",
            "number",
            "share of the loss gradient's norm in the tail on both sides as the task begins, 0 to 1",
            since="1.1",
        ),
        Column("start_left_tail", "number", "share in the outputs' tail, any input", since="1.1"),
        Column("start_right_tail", "number", "share in the inputs' tail, any output", since="1.1"),
        Column(
            "end_tail_tail",
            "number",
            "`start_tail_tail` after the task, with the same directions and images",
            since="1.1",
        ),
        Column("end_left_tail", "number", "`start_left_tail` after the task", since="1.1"),
        Column("end_right_tail", "number", "`start_right_tail` after the task", since="1.1"),
    )
    by_default = False

    def __init__(self) -> None:
        self._train: Sequence[LabelledImages] = ()
        self._before: dict[WeightMatrix, Principal] = {}
        self._found: dict[WeightMatrix, dict[str, Any]] = {}

    def prepare(self, given: Given) -> None:
        """Takes the training images, and copies the model before the method attaches anything."""
        self._train, self._copy = given.train, deepcopy(given.model).eval()
        self._matrices = weight_matrices(self._copy.clip, "both", given.strategy.matrices)

    def on_task_begin(self, run: RunState) -> None:
        """Measures the gradient of the task that begins."""
        self._before = principal(run)
        self._found = {matrix: {} for matrix in self._before}
        self._note(run, "start")

    def on_task_end(self, run: RunState) -> None:
        """Measures the gradient of the task just learned."""
        self._note(run, "end")

    def _note(self, run: RunState, when: str) -> None:
        assert run.task is not None
        self._copy.clip.load_state_dict(run.model.clip.state_dict())
        found = gradients(self._copy, run.task, self._matrices, [batch(self._train[run.task])])
        with full_precision():
            for matrix, before in self._before.items():
                each = tail_shares(found[matrix.name], before)
                self._found[matrix] |= {f"{when}_{name}": share for name, share in each.items()}

    def measure(self, run: RunState) -> Iterator[dict[str, Any]]:
        """Yields one row for each weight matrix after a task, none before any training.

        A row has `after` (number of tasks learned), `tower`, `block` and `matrix` (see `keys_of`), and the three shares at
        the start and at the end of the task, each 0..1.

        Args:
            run: the state of the run.
        """
        for matrix, found in self._found.items():
            yield {**keys_of(matrix, run.learned), **found}
        self._found = {}
