"""How far the parameters of each tower are from those before the first task, and from those before the last one.

With theta_t (P,) all P parameters of a tower after t tasks as one vector, and Euclidean norms:

    distance ||theta_t - theta_0||      change ||theta_t - theta_(t-1)||      norm ||theta_0||

The relative ones are divided by ||theta_0||. The image tower has the parameters of open_clip's `visual`; the text tower all
others, embeddings and projection too, except single numbers such as the logit scale, which belongs to neither. They are the
model's own parameters, between tasks, with updates merged: what a method keeps beside the model does not count. theta_0 are
the weights from which the run starts, pretrained ones or those of `--start-from`. Sums are in float64.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.experiment.measurements.base import Given, Measurement, RunState
from benchmarks.runs.columns import Column
from strategies.clip.weight_matrices import TOWERS


def parameters(clip: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Returns the parameters of an open_clip model by tower, `image` and `text`, without single numbers.

    Args:
        clip: the open_clip model.
    """
    found: dict[str, list[nn.Parameter]] = {tower: [] for tower in TOWERS["both"]}
    for name, parameter in clip.named_parameters():
        if parameter.ndim:
            found["image" if name.startswith("visual.") else "text"].append(parameter)
    return found


def distance(some: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """Returns the Euclidean norm of the difference of two lists of tensors with the same shapes, each list as one vector."""
    return norm(a.detach().cpu() - b for a, b in zip(some, others, strict=True))


def norm(tensors: Iterable[Tensor]) -> float:
    """Returns the Euclidean norm of some tensors as one vector, summed in float64."""
    return math.hypot(*(torch.linalg.vector_norm(each, dtype=torch.float64).item() for each in tensors))


class Meter(Measurement):
    """Measures how far each tower has moved: one row of `drift.csv` for each tower after each task, none before any.

    It keeps two copies of all parameters on the CPU. A resumed run goes on without a gap.
    """

    table = "drift"
    keys = ("after", "tower")
    columns = (
        Column("after", "integer", "state: the number of tasks learned, 1 to T", since="1.1"),
        Column("tower", "text", "`image` or `text`", since="1.1"),
        Column("distance", "number", "norm of theta_t - theta_0, of all parameters of the tower", since="1.1"),
        Column("relative_distance", "number", "`distance` over the norm of theta_0", since="1.1"),
        Column("change", "number", "norm of theta_t - theta_(t-1), the change by the last task", since="1.1"),
        Column("relative_change", "number", "`change` over the norm of theta_0", since="1.1"),
    )
    by_default = False

    def __init__(self) -> None:
        self._of: Mapping[str, list[nn.Parameter]] = {}
        self._start: dict[str, list[Tensor]] = {}
        self._norms: dict[str, float] = {}
        self._before: dict[str, list[Tensor]] = {}

    def prepare(self, given: Given) -> None:
        """Stores the parameters before any training."""
        self._of = parameters(given.model.clip)
        self._start = self._before = self._copies()
        self._norms = {tower: norm(of) for tower, of in self._start.items()}

    def on_run_begin(self, run: RunState) -> None:
        """Stores the parameters of the checkpoint as those before the next task, if the run is resumed."""
        if run.resumed:
            self._before = self._copies()

    def _copies(self) -> dict[str, list[Tensor]]:
        return {tower: [each.detach().to("cpu", copy=True) for each in of] for tower, of in self._of.items()}

    def measure(self, run: RunState) -> Iterator[dict[str, Any]]:
        """Yields one row for each tower: `after`, `tower`, and the two distances, absolute and relative.

        Args:
            run: the state of the run.
        """
        for tower, now in self._of.items() if run.learned else ():
            far, changed = distance(now, self._start[tower]), distance(now, self._before[tower])
            yield {
                "after": run.learned,
                "tower": tower,
                "distance": far,
                "relative_distance": far / self._norms[tower],
                "change": changed,
                "relative_change": changed / self._norms[tower],
            }
        self._before = self._copies()
