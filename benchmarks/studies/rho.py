"""How does rho, the share of energy that is knowledge, decide what two tasks leave of each other?

Two tasks of `micro`, `digits` and then `letters`: of the pairs that follow one another in its orders I and II this is the one
in which NuSA-CL loses most of the first task when it learns the second (9.6 points in the reference runs), since both read
printed glyphs in the same turned serif letters. rho goes from 0.80 to 0.999, at ranks 8, 32 and 128. An update has
min(rank, null directions) directions, the smallest ones. So at rank 128, all that a matrix here has, rho alone decides, and
at rank 8 it changes nothing as long as a null space has eight directions. The update is scaled by 2 / sqrt(rank), so that
the comparison is along rho, at one rank. Directions are those of the update of a matrix: the mean over matrices.
"""

from collections.abc import Callable

from matplotlib.figure import Figure

from benchmarks.comparison.collection import Runs
from benchmarks.comparison.tables import Table
from benchmarks.runs.read import Run
from benchmarks.studies import values
from benchmarks.studies.base import SEEDS, Study
from benchmarks.studies.values import Column
from plotting import style
from plotting.studies import curve, look, panels


RHO, RANKS = (0.80, 0.90, 0.95, 0.98, 0.99, 0.995, 0.999), (8, 32, 128)
TASKS = {"strategy": "nusa", "order": ["digits,letters"]}
GRID = [{**TASKS, "rank": RANKS, "rho": RHO, "seed": SEEDS}]
QUICK = [{**TASKS, "rank": (8, 128), "rho": (0.8, 0.99), "seed": SEEDS[0], "iterations": 3}]


def accuracy(after: int, task: int) -> Callable[[Run], float]:
    """Returns the function that maps a run to the accuracy on a task, in percent, task known.

    Args:
        after: the number of tasks learned.
        task: the task, from 0.
    """
    return lambda run: float(run.accuracy["known"][after, task])


def directions(task: int) -> Callable[[Run], float]:
    """Returns the function that maps a run to the directions of the update in a task, the mean over matrices.

    Args:
        task: the task, from 0.
    """

    def used(run: Run) -> float:
        null = run.rank[run.rank["after"] == task]["null_directions"]
        return float(null.clip(upper=run.config["rank"]).mean())

    return used


COLUMNS = [
    Column("directions, task 1", directions(0)),
    Column("directions, task 2", directions(1)),
    Column("task 1, when learned", accuracy(1, 0)),
    Column("task 2, when learned", accuracy(2, 1)),
    Column("task 1, at the end", accuracy(2, 0)),
    Column("forgetting of task 1", lambda run: accuracy(1, 0)(run) - accuracy(2, 0)(run)),
    Column("task 2, after task 1", accuracy(1, 1)),
]


def tables(runs: Runs) -> list[Table]:
    """Returns the table with a row for each rank and rho.

    Args:
        runs: the finished runs.
    """
    first, second = runs[0].tasks[:2]
    zero = ", ".join(f"{task} {accuracy(0, place)(runs[0]):.1f}" for place, task in enumerate((first, second)))
    table = values.by_setting(f"{first}, then {second}; task known", runs, ("rank", "rho"), COLUMNS)
    table.notes.append(f"Percent, forgetting in points. Before training: {zero}.")
    return [table]


def _learned(run: Run) -> float:
    return (accuracy(1, 0)(run) + accuracy(2, 1)(run)) / 2


@style.paper()
def figure(runs: Runs) -> Figure:
    """Returns the figure of directions, learning accuracy of both tasks, and forgetting of the first, along rho.

    Args:
        runs: the finished runs.
    """
    shown = [COLUMNS[1], Column("learned, mean of both (%)", _learned), COLUMNS[5], COLUMNS[6]]
    ranks = runs.group("rank")
    drawing, axes = panels([""] * len(shown), [f"rank {rank}" for (rank,) in ranks], rows=2)
    for panel, column in zip(axes, shown, strict=True):
        for place, ((rank,), each) in enumerate(ranks.items()):
            along = each.group("rho")
            means = [values.mean(found, column.of) for found in along.values()]
            curve(panel, [1 - rho for (rho,) in along], means, f"rank {rank}", look(place))
        panel.set_xscale("log")
        panel.set_xticks([1 - rho for (rho,) in along], [f"{rho:g}" for (rho,) in along])
        panel.set_xticks([], minor=True)
        panel.invert_xaxis()
        panel.set_ylabel(column.heading)
        panel.set_xlabel("rho (scale of 1 - rho)")
    style.legend(drawing)
    return drawing


STUDY = Study(
    grids={"micro": GRID},
    quick=QUICK,
    tables=tables,
    figure=figure,
    alt="Directions, learning accuracy, forgetting and Transfer of two tasks along rho",
    not_shown=(
        "It is one pair of tasks, chosen because it forgets much, at one learning rate: a larger null space also learns more, "
        "and no curve is at equal learning accuracy. Of what a stream of many tasks does to the null space, see `saturation`."
    ),
)
