"""Does NuSA-CL's constraint have to persist while it learns, or is a start in the null space enough?

NuSA-CL's update is dW = s U M V^T, in the smallest singular directions U, V of the weight. With `--trained M` it stays in them
(the persistent constraint), with `M+V` it keeps only the left ones, with `M+U+V` both are where it starts and nothing more. The
controls are M and M+U+V in random directions. Trained factors are many more parameters, which learn, and forget, more at the
same rate. So each variant has five learning rates, half a decade apart, and all are compared where they have learned equally
well. Interference is how much of an update lies in the weight's principal directions, as a share of its norm: the mean over
matrices and tasks of `interference_left` and `interference_right` in `rank.csv`.
"""

from matplotlib.figure import Figure

from benchmarks.comparison.collection import Runs
from benchmarks.comparison.tables import Table
from benchmarks.studies import values
from benchmarks.studies.base import SEEDS, Study
from plotting.studies import look, trade_off


RATES = {"M": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2), "M+V": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)}
PLACES = ("M", "M+V", "M+U+V")  # of their colours
VARIANTS = (("tail", ("M", "M+V", "M+U+V")), ("random", ("M", "M+U+V")))
GRID = [
    {
        "strategy": "nusa",
        "directions": directions,
        "trained": trained,
        "lr": RATES.get(trained, RATES["M+V"]),
        "seed": SEEDS,
    }
    for directions, factors in VARIANTS
    for trained in factors
]
QUICK = [
    {
        "strategy": "nusa", "trained": ["M", "M+U+V"], "lr": [1e-3, 1e-2], "order": ["digits,letters"], "iterations": 4,
        "seed": SEEDS[0],
    }
]  # fmt: skip


def tables(runs: Runs) -> list[Table]:
    """Returns all variants at equal learning accuracy, then the metrics at each rate with the updates' interference.

    Args:
        runs: the finished runs.
    """
    columns = [*values.metrics(), *values.interference()]
    found = values.front_lines(runs)
    baseline = values.place_of(found, trained="M", directions="tail")
    rates = values.by_setting("at each rate, task known", runs, ("directions", "trained", "lr"), columns)
    return [*values.equal(found, baseline), rates]


def figure(runs: Runs) -> Figure:
    """Returns the figure of Transfer and forgetting against learning accuracy, a curve for each variant.

    Args:
        runs: the finished runs.
    """
    found = values.front_lines(runs)
    settings = [line.method.runs[0].config for line in found]
    labels = [f"{each['trained']}, {each['directions']}" for each in settings]
    looks = [look(PLACES.index(each["trained"]), int(each["directions"] == "random")) for each in settings]
    return trade_off(found, labels, looks, values.of_points)


STUDY = Study(
    grids={"micro": GRID},
    quick=QUICK,
    tables=tables,
    figure=figure,
    alt="Transfer and forgetting against learning accuracy, a curve for each variant",
    not_shown=(
        "It is one stream, one order and one small model, at one rank (32), one `rho` (0.95) and one number of steps. "
        "Where U and V are trained they stay near their start at small rates; how far they move is not measured here. "
        "Learning accuracy is read between rates half a decade apart."
    ),
)
