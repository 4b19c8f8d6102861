"""What becomes of NuSA-CL's null space over 110 tasks, and of what it learns when little is left?

Stream `repeat:10:micro`: the eleven tasks of `micro` ten times over. NuSA-CL with its recipe's settings (`rho` 0.95, rank
32), and one thing changed at a time: more null space (`rho` 0.90), or fewer directions at once (rank 8). Null directions are
those of a matrix that hold the last 1 - `rho` of its energy, the mean over matrices, and of the matrix with fewest. Accuracy
is the mean over the eleven tasks after each round, learning accuracy that of each task of the round when just learned, and
loss within a round the difference between that and the accuracy at the end of the round.
"""

import re
from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from benchmarks.comparison.collection import Runs
from benchmarks.comparison.tables import Table
from benchmarks.runs.read import Run
from benchmarks.studies import values
from benchmarks.studies.base import SEEDS, Study
from benchmarks.studies.values import Column
from plotting import style
from plotting.studies import curve, look, panels


REPETITION = re.compile(r" \(\d+\)$")
GRID = [
    {"strategy": "nusa", "rho": 0.95, "rank": (32, 8), "seed": SEEDS},
    {"strategy": "nusa", "rho": 0.90, "rank": 32, "seed": SEEDS},
]
QUICK = [
    {
        "strategy": "nusa", "stream": "repeat:2:micro", "order": ["digits,letters,digits (2),letters (2)"],
        "rho": (0.95, 0.90), "seed": SEEDS[0], "iterations": 3,
    }
]  # fmt: skip


def in_round(run: Run) -> int:
    """Returns the number of tasks in a round of a repeated stream.

    Args:
        run: a run on the stream.
    """
    return sum(not REPETITION.search(task) for task in run.tasks)


def columns(turn: int) -> list[Column]:
    """Returns what a table and the figure have of a round.

    Args:
        turn: the round, from 1; 0 for the state before any training.
    """

    def null(least: bool) -> Callable[[Run], float]:
        def left(run: Run) -> float:
            found = run.rank[run.rank["after"] == turn * in_round(run)]["null_directions"]
            return float(found.min() if least else found.mean())

        return left

    def accuracy(run: Run) -> float:
        return float(run.accuracy["known"][turn * in_round(run), : in_round(run)].mean())

    def learned(run: Run) -> float | None:
        tasks = np.arange((turn - 1) * in_round(run), turn * in_round(run))
        return float(run.accuracy["known"][tasks + 1, tasks].mean()) if turn else None

    def lost(run: Run) -> float | None:
        just = learned(run)
        return None if just is None else just - accuracy(run)

    return [
        Column("null directions", null(False)),
        Column("of the fewest", null(True)),
        Column("accuracy", accuracy),
        Column("learning accuracy", learned),
        Column("lost within the round", lost),
    ]


def tables(runs: Runs) -> list[Table]:
    """Returns the table of a few rounds for each setting.

    Args:
        runs: the finished runs.
    """
    last = len(runs[0].tasks) // in_round(runs[0])
    turns = [turn for turn in (0, 1, 2, 3, 5, 10) if turn <= last]
    return [
        values.by_setting(f"after round {turn}" if turn else "before training", runs, ("rho", "rank"), columns(turn))
        for turn in turns
    ]


@style.paper()
def figure(runs: Runs) -> Figure:
    """Returns the figure of null directions, accuracy, learning accuracy and what is lost, after each round.

    Args:
        runs: the finished runs.
    """
    turns = range(len(runs[0].tasks) // in_round(runs[0]) + 1)
    names = {values: f"rho {values[0]:g}, rank {values[1]}" for values in runs.group("rho", "rank")}
    shown = [place for place, column in enumerate(columns(0)) if column.heading != "of the fewest"]
    drawing, axes = panels([""] * len(shown), list(names.values()), rows=2)
    for panel, which in zip(axes, shown, strict=True):
        for place, (settings, each) in enumerate(runs.group("rho", "rank").items()):
            means = [values.mean(each, columns(turn)[which].of) for turn in turns]
            curve(panel, list(turns), means, names[settings], look(place))
        panel.set_ylabel(columns(0)[which].heading)
        panel.set_xlabel("rounds learned")
        style.over_tasks(panel, len(turns) - 1, ticks=10)
    style.legend(drawing)
    return drawing


STUDY = Study(
    grids={"repeat:10:micro": GRID},
    quick=QUICK,
    tables=tables,
    figure=figure,
    alt="Null directions, accuracy, learning accuracy and loss over ten rounds",
    not_shown=(
        "The tasks come again: from the second round on there is less to learn than in 110 different tasks, and what a round "
        "loses the next one may bring back. `rho` and rank are changed one at a time, at one learning rate. Nothing that "
        "shrinks the updates, and no method that distils, is among the runs."
    ),
)
