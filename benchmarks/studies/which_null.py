"""Which directions are unused: a weight's smallest, or those where inputs and gradients are small?

NuSA-CL takes both sides of an update dW = s L M R^T from the weight's smallest singular directions. The nine cells of
`activation_null --variant cells` take R from the weight, from the null space of the layer's inputs on the task's images, or
at random, and L from the weight, from the null space of the gradients of its outputs, or at random; M alone learns, with the
same rank in all nine. `weight` on both sides is NuSA-CL. Each cell has three learning rates, half a decade apart: up to the
one that NuSA-CL's search chose (3e-2), or from it upwards where a side is a null space of inputs or gradients, for there a
step changes the outputs so little that at smaller rates hardly anything is learned. Interference is the share of an update's
norm that lies in the weight's principal directions: the mean over matrices and tasks of `interference_left` and
`interference_right` in `rank.csv`.
"""

from matplotlib.figure import Figure

from benchmarks.comparison.collection import Runs
from benchmarks.comparison.tables import Table
from benchmarks.studies import values
from benchmarks.studies.base import SEEDS, Study
from plotting.studies import look, trade_off


RIGHT, LEFT = ("weight", "activation", "random"), ("weight", "gradient", "random")
CELLS = {"strategy": "activation_null", "variant": "cells", "seed": SEEDS}
GRID = [
    {**CELLS, "right": ("weight", "random"), "left": ("weight", "random"), "lr": (3e-3, 1e-2, 3e-2)},
    {**CELLS, "right": "activation", "left": LEFT, "lr": (3e-2, 1e-1, 3e-1)},
    {**CELLS, "right": ("weight", "random"), "left": "gradient", "lr": (3e-2, 1e-1, 3e-1)},
]
SMALL = {"seed": SEEDS[0], "order": ["digits,letters"], "iterations": 4}
QUICK = [{**CELLS, "right": RIGHT[:2], "left": LEFT[:1], "lr": (1e-2, 3e-2), **SMALL}]


def tables(runs: Runs) -> list[Table]:
    """Returns all cells at equal learning accuracy, then the metrics at each rate with the updates' interference.

    Args:
        runs: the finished runs.
    """
    found = values.front_lines(runs)
    baseline = values.place_of(found, right="weight", left="weight")
    columns = [*values.metrics(), *values.interference()]
    return [
        *values.equal(found, baseline),
        values.by_setting("at each rate, task known", runs, ("right", "left", "lr"), columns),
    ]


def figure(runs: Runs) -> Figure:
    """Returns the figure of Transfer and forgetting against learning accuracy: a colour for each right side, a marker for each
    left one.

    Args:
        runs: the finished runs.
    """
    found = values.front_lines(runs)
    sides = [(each["right"], each["left"]) for each in (line.method.runs[0].config for line in found)]
    looks = [look(RIGHT.index(right), LEFT.index(left)) for right, left in sides]
    return trade_off(found, [f"right {right}, left {left}" for right, left in sides], looks, values.of_points)


STUDY = Study(
    grids={"micro": GRID},
    quick=QUICK,
    tables=tables,
    figure=figure,
    alt="Transfer and forgetting against learning accuracy, for nine kinds of directions",
    not_shown=(
        "Inputs and gradients are those of the new task's images and prompts, before it is learned: what earlier tasks or the "
        "pretraining put into a layer is not looked at, since it is not there any more. The rank of all cells is that which "
        "the weight's spectrum allows, so that a null space of the inputs that is larger is not used up. It is one stream, "
        "one order and one small model, at rank 32 and `rho` 0.95."
    ),
)
