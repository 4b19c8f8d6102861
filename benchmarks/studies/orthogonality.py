"""Which methods leave a weight's principal directions alone?

Three tasks of `micro`: `digits`, `letters`, `arrows`, each method with its recipe's settings, in float32
(`orthogonality-bf16` has bf16, which not every processor can). Interference is the share of an update's norm that lies in the
principal directions, U_p on the left and V_p on the right, of the weight before the task: ||U_p^T dW|| / ||dW|| and
||dW V_p|| / ||dW||, the mean over matrices. dW is what a whole task has changed, merged. Principal are the largest singular
directions that hold the method's `rho`, or 95 % of the energy where it has none. Chance is what an update without any
preference has, the root of their share of all directions.
"""

from typing import Any

from matplotlib.figure import Figure

from benchmarks.comparison.collection import Runs
from benchmarks.comparison.tables import Table
from benchmarks.runs.read import Run
from benchmarks.studies import values
from benchmarks.studies.base import SEEDS, Study
from benchmarks.studies.values import Column
from plotting import style
from plotting.studies import look, panels, powers


METHODS = ("nusa", "oplora", "keeplora", "inflora", "activation_null", "milora", "olora", "codyra", "lora", "finetune")
SPACES = ("tail", "complement", "soft", "free")
SIDES = ("left", "right")
VARIANT = ("strategy", "space")
ALL = {"order": ["digits,letters,arrows"], "seed": SEEDS}
GRID = [{"strategy": METHODS, **ALL}, {"strategy": "nusa_self", "space": SPACES, **ALL}]
QUICK = [
    {"strategy": ("nusa", "oplora", "lora"), "order": ["digits,letters"], "seed": SEEDS[0], "iterations": 2},
]


def _chance(run: Run) -> float:
    first = run.rank[run.rank["after"] == 0]
    return float(((first["energy_rank"] / first["dim"]) ** 0.5).mean())


def tables(runs: Runs) -> list[Table]:
    """Returns a table for each side: a row for each method and precision, a column for each task.

    Args:
        runs: the finished runs.
    """
    found = []
    for side in SIDES:
        columns = [
            Column(f"{number} {task}", values.of_rank(f"interference_{side}", number), "{:.1e}".format)
            for number, task in enumerate(runs[0].tasks, 1)
        ]
        chance = Column("chance", _chance, "{:.1e}".format)
        found.append(
            values.by_setting(f"interference, {side}", runs, (*_variant(runs), "precision"), [*columns, chance])
        )
    return found


def _variant(runs: Runs) -> tuple[str, ...]:
    """The settings that tell the methods apart, of those that any run has."""
    return tuple(name for name in VARIANT if any(name in run.config for run in runs))


@style.paper()
def figure(runs: Runs) -> Figure:
    """Returns the figure of both sides' interference, the mean over tasks, a line for each method and a colour for each
    precision.

    Args:
        runs: the finished runs.
    """
    methods = runs.group(*_variant(runs))
    labels = [" ".join(str(each) for each in names if each) for names in methods]
    precisions = [precision for (precision,) in runs.group("precision")]
    drawing, axes = panels(SIDES, precisions)
    drawing.set_figheight(0.9 + 0.17 * len(labels))
    for panel, side in zip(axes, SIDES, strict=True):
        for place, precision in enumerate(precisions):
            shown = look(place)
            for row, each in enumerate(methods.values()):
                mean = values.mean(each.filter(precision=precision), values.of_rank(f"interference_{side}"))
                if mean is not None:
                    point: dict[str, Any] = {"color": shown.colour, "marker": shown.marker, "linestyle": "none"}
                    panel.errorbar(mean.mean, row, xerr=mean.half_width, elinewidth=0.5, **point)
            panel.plot([], [], color=shown.colour, marker=shown.marker, linestyle="none", label=precision)
        panel.set_yticks(range(len(labels)), labels if side == SIDES[0] else [""] * len(labels))
        panel.set_ylim(len(labels) - 0.5, -0.5)
        panel.set_xscale("log")
        panel.set_xlabel("interference, mean over tasks")
        powers(panel)
    style.legend(drawing)
    return drawing


STUDY = Study(
    grids={"micro": GRID},
    quick=QUICK,
    tables=tables,
    figure=figure,
    alt="Interference on the left and right of each method's updates, by precision",
    not_shown=(
        "It is measured on the merged weights alone, so that what merging rounds is part of it. A small interference in the "
        "weights says nothing of the activations: an update may leave all principal directions alone and change the outputs "
        "much. Methods are at their recipe's rate, with which they learn and change different amounts."
    ),
)
