"""Where in a weight's spectrum does an update cost most: is forgetting U-shaped along it?

The same update dW = s U_j M V_j^T in each tenth j of a weight's singular directions, on both sides: decile 1 has the largest
singular values, decile 10 the smallest (`--strategy studies:position`, whose decile 10 is NuSA-CL at that rank). It has 12
directions everywhere, all that a tenth of the 128 has. Each decile has three learning rates, half a decade apart: from 1e-2
upwards, but from 3e-3 in deciles 2 and 3, and from 1e-3 in decile 1, where the same step changes the outputs so much more that
at the largest rates it breaks the model. All have 1e-2. So the deciles are compared at the same rate, and where they have
learned equally well.

Bend is the coefficient b of forgetting = a + b x^2 + c x fitted over the deciles at a rate, x from -1 (decile 1) to 1
(decile 10), in points: above 0 where forgetting is U-shaped, with both ends above the middle. Slope is c: below 0 where the
small singular values forget less.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmarks.comparison import frontier_tables
from benchmarks.comparison.collection import Runs
from benchmarks.comparison.frontier import Line
from benchmarks.comparison.metric_columns import metric
from benchmarks.comparison.statistics import interval
from benchmarks.comparison.tables import Cell, Table, bracketed, signed
from benchmarks.studies import values
from benchmarks.studies.base import SEEDS, Study
from plotting import style
from plotting.studies import curve, look, panels


DECILES, FEWEST = tuple(range(1, 11)), 4
EQUAL = ("transfer", "forgetting", "last")  # shown at equal learning accuracy
UPDATE = {"strategy": "studies:position", "rank": 12}
GRID = [
    {**UPDATE, "decile": 1, "lr": (1e-3, 3e-3, 1e-2), "seed": SEEDS},
    {**UPDATE, "decile": DECILES[1:3], "lr": (3e-3, 1e-2, 3e-2), "seed": SEEDS},
    {**UPDATE, "decile": DECILES[3:], "lr": (1e-2, 3e-2, 1e-1), "seed": SEEDS},
]
QUICK = [
    {
        **UPDATE, "decile": (1, 4, 7, 10), "lr": (1e-2, 3e-2), "order": ["digits,letters"], "iterations": 4, "seed": SEEDS[0],
    }
]  # fmt: skip


def bend(deciles: Sequence[int], found: Sequence[float]) -> tuple[float, float]:
    """Returns the coefficients of x^2 and of x in the parabola fitted to values at deciles, x from -1 to 1.

    Args:
        deciles: at least three, each from 1 to 10.
        found: a value for each.
    """
    square, slope, _ = np.polyfit((np.array(deciles) - 5.5) / 4.5, found, 2)
    return float(square), float(slope)


def _by_rate(runs: Runs) -> dict[float, Runs]:
    """The runs of each rate that at least four deciles have."""
    return {rate: each for (rate,), each in runs.group("lr").items() if len(each.group("decile")) >= FEWEST}


def _shape(runs: Runs) -> Table:
    """The table of bend and slope of forgetting and of lost Transfer, a row for each rate."""
    names = {"forgetting": 1, "transfer": -1}  # Transfer with the sign of a loss
    rows = []
    for rate, each in _by_rate(runs).items():
        seeds = each.group("seed").values()
        cells = []
        for key, sign in names.items():
            of = metric("known", key).of
            fits = [
                bend([run.config["decile"] for run in one], [sign * (of(run) or 0.0) for run in one]) for one in seeds
            ]
            cells += [bracketed(interval(list(part)), signed) for part in zip(*fits, strict=True)]
        rows.append((Cell(f"{rate:g}"), *cells))
    header = ("lr", "forgetting, bend", "forgetting, slope", "lost Transfer, bend", "lost Transfer, slope")
    return Table("shape over the deciles", header, rows, [values.INTERVALS])


def tables(runs: Runs) -> list[Table]:
    """Returns the deciles at each rate, the shapes over them, and all deciles at equal learning accuracy.

    Args:
        runs: the finished runs.
    """
    found = values.front_lines(runs)
    columns = [*values.metrics(), *values.interference()]
    return [
        values.by_setting("at each rate, task known", runs, ("decile", "lr"), columns),
        _shape(runs),
        *values.equal(found, values.place_of(found, decile=10)),
    ]


@style.paper()
def figure(runs: Runs) -> Figure:
    """Returns the figure by decile: above learning accuracy, Transfer and forgetting at the rates of several deciles, below
    Transfer, forgetting and Last where all have learned equally well.

    Args:
        runs: the finished runs.
    """
    lines = sorted(values.front_lines(runs), key=_decile)
    rates, at = _by_rate(runs), _middle(frontier_tables.levels(lines))
    labels = [*(f"lr {rate:g}" for rate in rates), *(f"at learning accuracy {each} %" for each in at)]
    drawing, axes = panels([""] * (6 if at else 3), labels, rows=2 if at else 1)
    named = [metric("known", key) for key in ("right_after", *EQUAL[:2], *EQUAL)]
    for panel, each in zip(axes, named, strict=False):
        panel.set_ylabel(f"{each.heading} ({'%' if each.more_is_better else 'points'})")
        panel.set_xticks(DECILES)
        panel.set_xlabel("decile (1: largest values)")
    for place, (label, of_rate) in enumerate(zip(labels, rates.values(), strict=False)):
        deciles = of_rate.group("decile")
        for panel, wanted in zip(axes[:3], named[:3], strict=True):
            means = [values.mean(found, wanted.of) for found in deciles.values()]
            curve(panel, [decile for (decile,) in deciles], means, label, look(place))
    for place, (label, accuracy) in enumerate(zip(labels[len(rates) :], at, strict=True), len(rates)):
        axes[0].plot([], label=label, **look(place).line())  # for the legend
        for panel, wanted in zip(axes[3:], named[3:], strict=True):
            means = [values.of_points(line, line.at([accuracy], wanted.of))[0] for line in lines]
            curve(panel, [_decile(line) for line in lines], means, label, look(place))
    style.legend(drawing)
    return drawing


def _decile(line: Line) -> int:
    return int(line.method.runs[0].config["decile"])


def _middle(at: Sequence[int]) -> Sequence[int]:
    """At most three of some learning accuracies, those in the middle."""
    first = max((len(at) - 3) // 2, 0)
    return at[first : first + 3]


STUDY = Study(
    grids={"micro": GRID},
    quick=QUICK,
    tables=tables,
    figure=figure,
    alt="Learning accuracy, Transfer and forgetting by decile of the spectrum",
    not_shown=(
        "An update has the same decile on both sides; a left side from one decile and a right side from another is not "
        "among the runs (see `which-null` for the two sides apart). The deciles are those of the weight before each task, so "
        "what an earlier task wrote may lie in another decile later. Twelve directions are fewer than NuSA-CL's 32, and "
        "learning accuracy is read between rates half a decade apart. It is one stream, one order and one small model."
    ),
)
