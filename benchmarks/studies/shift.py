"""Does NuSA-CL keep less on streams that are further from what the CLIP was pretrained on?

The eleven tasks of `micro` as they are, and with all images changed (`shifted:KIND:micro`): red, green and blue exchanged,
inverted, or under strong noise. How far a stream is, is said by zero-shot accuracy, the lower the further. NuSA-CL and LoRA
have three learning rates each, half a decade apart, the middle one of LoRA and the largest of NuSA-CL those of the recipe, so
that the two are compared where they have learned equally well. Pretraining is retrieval among held-out pairs of pictures and
captions as in the CLIP's pretraining (`--probe micro`), after the last task, less than before the first, in points: what a
stream costs outside itself.
"""

from dataclasses import replace

from matplotlib.figure import Figure

from benchmarks.comparison import frontier_tables
from benchmarks.comparison.collection import Runs
from benchmarks.comparison.frontier import corner
from benchmarks.comparison.tables import Table
from benchmarks.runs.read import Run
from benchmarks.studies import values
from benchmarks.studies.base import SEEDS, Study
from benchmarks.studies.values import Column
from plotting import style
from plotting.studies import curve, look, panels


STREAMS = ("micro", "shifted:colours:micro", "shifted:inverted:micro", "shifted:noise:micro")
RATES = {"nusa": (3e-3, 1e-2, 3e-2), "lora": (3e-4, 1e-3, 3e-3)}
PROBE = "micro-pairs"
DRAWN = {"nusa": 3e-2, "lora": 1e-3}  # the recipe's
GRID = [{"stream": STREAMS, "strategy": strategy, "lr": rates, "seed": SEEDS} for strategy, rates in RATES.items()]
QUICK = [
    {
        "stream": STREAMS[:2], "strategy": strategy, "lr": rate, "order": ["digits,letters"], "seed": SEEDS[0], "iterations": 3,
    }
    for strategy, rate in DRAWN.items()
]  # fmt: skip


def _zero_shot(run: Run) -> float:
    return corner(run, "known")[0]


def _lost(run: Run) -> float:
    return corner(run, "known")[1] - float(run.metrics["known"]["transfer"])


def _gained(run: Run) -> float:
    return float(run.metrics["known"]["last"]) - _zero_shot(run)


def _forgotten(run: Run) -> float | None:
    found = [states[0] - states[-1] for (probe, _), states in run.probes.items() if probe == PROBE]
    return sum(found) / len(found) if found else None


COLUMNS = [
    Column("zero-shot", _zero_shot),
    *values.metrics(),
    Column("Transfer lost", _lost),
    Column("Last gained", _gained),
    Column("pretraining lost", _forgotten),
]


def tables(runs: Runs) -> list[Table]:
    """Returns the metrics on each stream, then the differences to LoRA at equal learning accuracy, where there are some.

    Args:
        runs: the finished runs.
    """
    whole = values.by_setting("each stream, task known", runs, ("stream", "strategy", "lr"), COLUMNS)
    whole.notes.append(
        "Transfer lost, Last gained: against zero-shot, in points. Pretraining lost: mean over R@1 and R@5 in both directions."
    )
    found = [whole]
    for (stream,), each in runs.group("stream").items():
        lines = values.front_lines(each) if len(each.group("lr")) > len(RATES) else []
        if at := frontier_tables.levels(lines):
            baseline = values.place_of(lines, strategy="lora")
            others = [line for place, line in enumerate(lines) if place != baseline]
            for key in ("transfer", "forgetting", "last"):
                table = frontier_tables.differences(others, lines[baseline], key, at)
                found.append(replace(table, title=f"{stream}: {table.title}"))
    return found


@style.paper()
def figure(runs: Runs) -> Figure:
    """Returns the figure of lost Transfer, gained Last and lost pretraining by zero-shot accuracy, at the recipe's rates.

    Args:
        runs: the finished runs.
    """
    drawing, axes = panels([""] * 3, list(DRAWN))
    shown = {column.heading: column for column in COLUMNS[-3:]}
    for panel, (heading, column) in zip(axes, shown.items(), strict=True):
        for place, (strategy, rate) in enumerate(DRAWN.items()):
            each = runs.filter(strategy=strategy, lr=rate).group("stream").values()
            near = sorted(each, key=lambda found: -_zero_shot(found[0]))
            means = [values.mean(found, column.of) for found in near]
            curve(panel, [_zero_shot(found[0]) for found in near], means, near[0][0].method.name, look(place))
        panel.invert_xaxis()
        panel.set_xlabel("zero-shot accuracy (%)")
        panel.set_ylabel(f"{heading} (points)")
    style.legend(drawing)
    return drawing


STUDY = Study(
    grids={"micro": GRID},
    quick=QUICK,
    tables=tables,
    figure=figure,
    alt="Lost Transfer, gained Last and lost pretraining by zero-shot accuracy",
    probe=("micro",),
    not_shown=(
        "All streams have the same tasks and prompts, and every image of a stream is changed in the same way; tasks that are "
        "far from one another, or whose concepts are new, are not among them. The fall of zero-shot accuracy is one measure of "
        "distance, of which there are four values here. `scans`, the one domain of real images, is one task in all four."
    ),
)
