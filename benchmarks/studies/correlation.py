"""Does a task cost an earlier one more, the more alike the two are?

Twelve of the 55 pairs of `micro`'s tasks, from near to far, each learned one after the other by NuSA-CL and by LoRA with their
recipe's settings. How alike two tasks are is said by the untrained CLIP: the cosine of their mean image features (training
images), and that of the mean text features of their class names alone. Forgetting is what the second task takes from the
first, lost Transfer what the first takes from the second before that is learned, in points. Interference is the share of the
second task's update that lies in its weight's principal directions, `rank.csv`'s mean of both sides over matrices; shared
directions are the mean squared cosine of the angles between the two tasks' updates (`--measure task_angles`), the mean of both
sides: 0 for orthogonal updates, 1 where one contains the other. Correlations are Spearman's over pairs and seeds, with the 95 %
interval of draws of pairs with replacement: the seeds of a pair are not independent of each other.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.comparison.collection import Runs
from benchmarks.comparison.predictors import correlation
from benchmarks.comparison.tables import MISSING, Cell, Table
from benchmarks.runs.read import Run
from benchmarks.studies import values
from benchmarks.studies.base import SEEDS, Data, Row, Study, later
from benchmarks.studies.values import Column
from plotting import style
from plotting.studies import look, panels


METHODS = ("nusa", "lora")
PAIRS = (
    "digits,textures", "letters,textures", "counting,textures", "clocks,colours", "positions,scans", "clocks,symbols",
    "arrows,positions", "colours,letters", "clocks,shapes", "digits,letters", "digits,scans", "arrows,symbols",
)  # fmt: skip
GRID = [{"strategy": METHODS, "order": [[pair] for pair in PAIRS], "seed": SEEDS}]
QUICK = [{"strategy": METHODS, "order": [[PAIRS[0]], [PAIRS[-1]]], "seed": SEEDS[0], "iterations": 4}]
ROUNDING = 1e-4  # values that all are below are rounding alone, and have no order
KINDS = {"images": "images alike", "names": "class names alike"}


def forgotten(run: Run) -> float:
    """Returns what the second task takes from the first, in points, task known.

    Args:
        run: the run.
    """
    accuracy = run.accuracy["known"]
    return float(accuracy[1, 0] - accuracy[2, 0])


def lost(run: Run) -> float:
    """Returns what the first task takes from the second before that is learned, in points, task known.

    Args:
        run: the run.
    """
    accuracy = run.accuracy["known"]
    return float(accuracy[0, 1] - accuracy[1, 1])


def interference(run: Run) -> float:
    """Returns the share of the second task's update in the principal directions, the mean over matrices and both sides.

    Args:
        run: the run.
    """
    second = run.rank[run.rank["after"] == 2]
    return float(second[["interference_left", "interference_right"]].to_numpy().mean())


def shared(run: Run) -> float:
    """Returns the mean squared cosine between the directions of the two tasks' updates, the mean over matrices and both sides.

    Args:
        run: the run.
    """
    return float(run.table("task_angles")[["left_mean_squared", "right_mean_squared"]].to_numpy().mean())


COLUMNS = [
    Column("forgetting", forgotten),
    Column("lost Transfer", lost),
    Column("interference", interference, "{:.3f}".format),
    Column("shared directions", shared, "{:.3f}".format),
]


def alike(runs: Runs, rows: Sequence[Row]) -> pd.DataFrame:
    """Returns a row for each run: its `pair`, `method`, how alike the tasks are by `images` and `names`, and all of `COLUMNS`.

    Args:
        runs: the finished runs.
        rows: how alike each two tasks are.
    """
    of = {frozenset((row["first"], row["second"])): {kind: row[kind] for kind in KINDS} for row in rows}
    return pd.DataFrame(
        {
            "pair": run.config["order"], "method": run.method.name, **of[frozenset(run.config["order"].split(","))],
            **{column.heading: column.of(run) for column in COLUMNS},
        }
        for run in runs
    )  # fmt: skip


def tables(runs: Runs, rows: Sequence[Row]) -> list[Table]:
    """Returns the pairs of each method, from far to near, then the correlations.

    Args:
        runs: the finished runs.
        rows: how alike each two tasks are.
    """
    found = alike(runs, rows)
    near = found.groupby("pair")[list(KINDS)].first()
    order = list(near.mean(axis=1).sort_values().index)
    places = {pair: place for place, pair in enumerate(order)}
    columns = [*(_kind(near, kind) for kind in KINDS), *COLUMNS]
    whole = [
        values.by_setting(each[0].method.name, _sorted(each, places), ("order",), columns)
        for each in runs.group("strategy").values()
    ]
    return [*whole, _correlations(found)]


def _kind(near: pd.DataFrame, kind: str) -> Column:
    return Column(KINDS[kind], lambda run: float(near.loc[run.config["order"], kind]), "{:.2f}".format)


def _sorted(runs: Runs, places: Mapping[str, int]) -> Runs:
    return Runs(sorted(runs, key=lambda run: places[run.config["order"]]))


def _correlations(found: pd.DataFrame) -> Table:
    number = {pair: place for place, pair in enumerate(found["pair"].unique())}
    known = found.assign(run=found["pair"].map(number))  # whole pairs are drawn
    rows = [
        (
            Cell(method),
            Cell(column.heading),
            *(_cell(known[known["method"] == method], column.heading, kind) for kind in KINDS),
        )
        for method in known["method"].unique()
        for column in COLUMNS
    ]
    notes = [f"{MISSING}: no interference beyond rounding."]
    return Table("rank correlation with how alike the tasks are", ("method", "of", *KINDS.values()), rows, notes)


def _cell(known: pd.DataFrame, target: str, kind: str) -> Cell:
    found = correlation(
        {name: known[name].to_numpy(dtype=float) for name in ("run", kind, target)}, kind, target, within=False
    )
    if found is None or known[target].abs().max() < ROUNDING:
        return Cell(MISSING)
    ends = "" if found.low is None else f" [{found.low:+.2f}, {found.high:+.2f}]"
    return Cell(f"{found.value:+.2f}{ends}", value=found.value)


@style.paper()
def figure(runs: Runs, rows: Sequence[Row]) -> Figure:
    """Returns the figure of forgetting, interference and shared directions by how alike the tasks are: a point for each run.

    Args:
        runs: the finished runs.
        rows: how alike each two tasks are.
    """
    found = alike(runs, rows)
    shown = [column.heading for column in COLUMNS if column.heading != "lost Transfer"]
    methods = list(found["method"].unique())
    drawing, axes = panels([""] * 6, methods, rows=2)
    for place, panel in enumerate(axes):
        kind, heading = list(KINDS)[place // 3], shown[place % 3]
        for number, (method, each) in enumerate(found.groupby("method", sort=False)):
            line = {**look(number).line(), "linestyle": "none", "markersize": 3.5}
            panel.plot(each[kind], each[heading], label=str(method), **line)
        panel.set_xlabel(f"{KINDS[kind]} (cosine)")
        panel.set_ylabel(heading + (" (points)" if heading == "forgetting" else ""))
    style.legend(drawing)
    return drawing


STUDY = Study(
    grids={"micro": GRID},
    quick=QUICK,
    tables=tables,
    figure=figure,
    alt="Forgetting, interference and shared directions by how alike two tasks are",
    measure=("task_angles",),
    data=Data(
        cells=[{"model": "micro"}],
        quick=[{"model": "micro"}],
        measure=later("benchmarks.studies.measuring.correlation"),
    ),
    not_shown=(
        "Each pair is learned in one order alone, and a task that is easily forgotten is so beside any other: with twelve "
        "pairs the tasks themselves are not told from how alike they are. All pairs that are far from one another have "
        "`textures` or `clocks`. How alike tasks are is seen by one CLIP, and its cosines have no unit: only their order is "
        "used."
    ),
)
