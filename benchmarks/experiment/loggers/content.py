"""What loggers send of a run: values by name, of each state and at the end, read from its run folder."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.runs.csv_files import ATTENTION, TOWERS
from benchmarks.runs.read import Run


LOSSES = ("loss", "cross_entropy", "added", "lr")
RANKS = ("energy_share", "effective_rank", "null_directions", "interference")
METRICS = ("transfer", "avg", "last", "forgetting")


@dataclass(frozen=True)
class Entry:
    """Values of one moment of a run.

    Attributes:
        values: the values by name, such as `train/loss` and `accuracy/MNIST`.
        axis: what `at` counts: `step` for training steps over all tasks, `task` for tasks learned.
        at: the number of them.
        place: a number that rises from entry to entry of a run, and is the same whenever the entry is read.
    """

    values: dict[str, float]
    axis: str
    at: int
    place: int


def states(run: Run) -> int:
    """Returns how many states of a run are evaluated: one more than tasks learned."""
    return int(np.isfinite(run.accuracy["known"]).any(axis=1).sum())


def of_state(run: Run, state: int) -> list[Entry]:
    """Returns what is known of a state: the losses of the task just learned, then accuracies and ranks.

    Accuracies are in percent, and those that the protocol reports; ranks are means over the attention's matrices of a
    tower (`benchmarks/experiment/measurements` describes them).

    Args:
        run: the run, which may go on still.
        state: the number of tasks learned, 0 to T.
    """
    steps = _steps(run, state)
    return [
        *_losses(run, state),
        Entry({**_accuracies(run, state), **_ranks(run, state)}, "task", state, steps + state),
    ]


def at_end(run: Run) -> Entry:
    """Returns the metrics of a finished run, in percent (forgetting in points): those that are defined.

    Args:
        run: the run.
    """
    count = len(run.tasks)
    found = run.metrics[run.protocol.accuracy_identity]
    values = {f"metrics/{name}": float(found[name]) for name in METRICS if found[name] is not None}
    return Entry(values, "task", count, _steps(run, count) + count)


def _table(run: Run) -> pd.DataFrame:
    return pd.DataFrame(columns=["task", "step", *LOSSES]) if run.history is None else run.history


def _steps(run: Run, tasks: int) -> int:
    """Returns the training steps of the first tasks together."""
    table = _table(run)
    return int(table[table["task"] <= tasks].groupby("task")["step"].max().sum())


def _losses(run: Run, task: int) -> list[Entry]:
    before, table = _steps(run, task - 1), _table(run)
    rows = table[table["task"] == task]
    return [
        Entry(
            {f"train/{name}": float(row[name]) for name in LOSSES},
            "step",
            before + row["step"],
            before + row["step"] + task - 1,
        )
        for row in rows.to_dict("records")
    ]


def _accuracies(run: Run, state: int) -> dict[str, float]:
    row = run.accuracy[run.protocol.accuracy_identity][state]
    named = {f"accuracy/{task}": float(value) for task, value in zip(run.tasks, row, strict=True) if np.isfinite(value)}
    parts = {"mean over tasks learned": row[:state], "mean over tasks to come": row[state:]}
    return {**named, **{f"accuracy/{name}": float(part.mean()) for name, part in parts.items() if len(part)}}


def _ranks(run: Run, state: int) -> dict[str, float]:
    table = run.rank
    table = table[(table["after"] == state) & table["matrix"].isin(ATTENTION)]
    means = {(tower, name): table.loc[table["tower"] == tower, name].mean() for tower in TOWERS for name in RANKS}
    return {f"rank/{tower}/{name}": float(mean) for (tower, name), mean in means.items() if np.isfinite(mean)}
