"""What does NuSA-CL's decomposition cost as models grow, and does a cheaper one learn as well?

NuSA-CL decomposes every q, k, v and o matrix before each task. The seconds are those of `python -m benchmarks.perf --part
decomposition`: all matrices of both towers, from one random block of each width, by exact algorithms and by two approximations
of the 128 smallest directions alone (`strategies/numerics/approximate_tail.py`): the orthogonal complement of a randomised
range of all others, and inverse iteration; `power` is the number of further iterations. A task is 1000 steps of NuSA-CL at
batch 16 and 10 prompts with the same model, where one is timed.

What the approximations cost in accuracy is seen on `micro`, at rank 32 with NuSA-CL's settings: `--strategy
studies:approximate_tail` is NuSA-CL but for its directions. Its distance to the exact tail is the mean squared sine of the
principal angles between the two, over the matrices of the untrained model and both sides: 0 for the same directions, 0.75 for
directions at random there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from benchmarks.comparison.collection import Runs
from benchmarks.comparison.statistics import Measure
from benchmarks.comparison.tables import MISSING, Cell, Table, signed
from benchmarks.runs.read import Run
from benchmarks.studies import values
from benchmarks.studies.base import SEEDS, Data, Row, Study, later
from benchmarks.studies.values import Column
from plotting import style
from plotting.studies import curve, look, panels


ALGORITHMS, POWERS = ("complement", "inverse"), (0, 2)
RANK = 32
RATE = {"lr": 3e-2, "rank": RANK}  # NuSA-CL's recipe
APPROXIMATE = {"strategy": "studies:approximate_tail", **RATE}
GRID = [
    {"strategy": "nusa", **RATE, "seed": SEEDS},
    {**APPROXIMATE, "algorithm": ALGORITHMS, "power": POWERS, "seed": SEEDS},
]
SMALL = {"order": ["digits,letters"], "iterations": 4, "seed": SEEDS[0]}
QUICK = [{"strategy": "nusa", **RATE, **SMALL}, {**APPROXIMATE, "algorithm": ALGORITHMS, "power": 0, **SMALL}]
TIMED = ("ViT-B-32-quickgelu", "ViT-B-16-quickgelu", "ViT-L-14-quickgelu")  # whose step is timed too
TASK = 1000  # steps
KINDS = [{"algorithm": algorithm, "power": power} for algorithm in ALGORITHMS for power in POWERS]
CELLS: list[Row] = [{"timed": model} for model in TIMED] + [{**kind, "seed": seed} for kind in KINDS for seed in SEEDS]
DIFFERENT = {"transfer": "Transfer", "last": "Last", "forgetting": "forgetting"}


def tables(runs: Runs, rows: Sequence[Row]) -> list[Table]:
    """Returns the seconds of the decompositions, if they were measured, then what each algorithm's runs score.

    Args:
        runs: the finished runs.
        rows: the timings, and the distances of approximate tails to the exact ones.
    """
    exact = {run.sample: run for run in runs if run.config["strategy"] == "nusa"}
    less = [
        Column(f"{heading}, less exact", _less(exact, key), lambda points: signed(points))
        for key, heading in DIFFERENT.items()
    ]
    columns = [Column("squared sine", _sine(rows), "{:.3f}".format), *values.metrics(), *less]
    scores = values.by_setting("task known", runs, ("strategy", "algorithm", "power"), columns)
    return [*_seconds(rows), scores]


def _less(exact: Mapping[Any, Run], key: str) -> Measure:
    """The function from a run to how much more it has of a metric than the exact run of its seed, in points."""

    def more(run: Run) -> float | None:
        here, there = run.metrics["known"][key], exact[run.sample].metrics["known"][key]
        return None if here is None or there is None else float(here) - float(there)

    return more


def _sine(rows: Sequence[Row]) -> Measure:
    """The function from a run to the mean distance of its algorithm's tails to the exact ones."""

    def distance(run: Run) -> float:
        kind = {name: run.config.get(name) for name in ("algorithm", "power")}
        found = [row["squared_sine"] for row in rows if row.get("of") == "distance" and kind.items() <= row.items()]
        return sum(found) / len(found) if found else 0.0

    return distance


def seconds(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Returns by backbone and algorithm the seconds that the decomposition of all matrices takes, the least of all timings.

    Args:
        rows: the timings.
    """
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["of"] == "all":
            of = found.setdefault(row["backbone"], {})
            of[row["by"]] = min(row["seconds"], of.get(row["by"], row["seconds"]))
    return found


def _seconds(rows: Sequence[Row]) -> list[Table]:
    """The table of seconds and shares of a task, a row for each backbone and algorithm; none without timings."""
    steps = {row["timed"].removesuffix("-quickgelu"): row for row in rows if row["of"] == "step"}
    if not steps:
        return []
    body: list[tuple[Cell, ...]] = []
    for backbone, found in seconds(rows).items():
        step = steps.get(backbone)
        for by, each in found.items():
            share = MISSING if step is None else f"{100 * each / (each + TASK * step['seconds']):.3f}"
            body.append((Cell(backbone), Cell(by), Cell(f"{each:.2f}", value=each), Cell(share)))
    on = next(iter(steps.values()))
    machine = on["gpu"] or f"{on['processor']}, {on['threads']} threads"
    notes = [f"On {machine}; the least of several timings. {MISSING}: no step of that model was timed."]
    return [Table("all matrices before a task", ("backbone", "by", "seconds", "share of a task (%)"), body, notes)]


@style.paper()
def figure(runs: Runs, rows: Sequence[Row]) -> Figure:
    """Returns the figure of the seconds by backbone, and of Last and forgetting by the distance to the exact tail.

    Args:
        runs: the finished runs.
        rows: the timings, and the distances.
    """
    timed, kinds = seconds(rows), runs.group("algorithm", "power")
    of_runs = {"svd" if by is None else f"tail by {by}, power {power}": each for (by, power), each in kinds.items()}
    labels = list(dict.fromkeys([*of_runs, *next(iter(timed.values()), {})]))
    shown = {label: look(place, place) for place, label in enumerate(labels)}
    drawing, axes = panels(("", "", ""), labels)
    for label in labels:
        points = [found[label] for found in timed.values() if label in found]
        axes[0].plot(points, label=label, **{**shown[label].line(), "markersize": 3.5})
    axes[0].set_xticks(range(len(timed)), [each.removeprefix("ViT-") for each in timed])
    axes[0].set_ylabel("seconds, all matrices")
    if timed:
        axes[0].set_yscale("log")
        axes[0].yaxis.set_major_formatter("{x:g}")
        axes[0].yaxis.set_minor_formatter(NullFormatter())
    of = {column.heading: column.of for column in values.metrics()}
    for panel, heading, unit in zip(axes[1:], ("Last", "forgetting"), ("%", "points"), strict=True):
        for label, each in of_runs.items():
            curve(panel, [_sine(rows)(each[0])], [values.mean(each, of[heading])], label, shown[label])
        panel.set_xlabel("squared sine")
        panel.set_ylabel(f"{heading} ({unit})")
    style.legend(drawing)
    return drawing


STUDY = Study(
    grids={"micro": GRID},
    quick=QUICK,
    tables=tables,
    figure=figure,
    alt="Seconds of the decomposition by model; Last and forgetting by distance to the tail",
    data=Data(
        cells=CELLS,
        quick=[{**KINDS[0], "seed": SEEDS[0]}, {**KINDS[2], "seed": SEEDS[0]}],
        measure=later("benchmarks.studies.measuring.svd_cost"),
    ),
    not_shown=(
        "The seconds are of random matrices of each width; a trained weight's spectrum changes those of the approximations "
        "little and their distance to the tail much. The accuracy is that of one small model, whose matrices have 128 "
        "directions and updates 32; nothing says how near an approximation has to be in a large one. A task of another "
        "length or batch has another share."
    ),
)
