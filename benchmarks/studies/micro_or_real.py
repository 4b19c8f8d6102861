"""How much is the micro CLIP like a real one, and how is each study repeated with real weights?

Nothing is trained. The spectra are those of the q, k, v and o matrices of each tower: the share of the singular directions that
hold 95 % of the energy, which NuSA-CL's paper gives for OpenAI's ViT-B/16, the entropy rank as a share of all directions, and
the stable rank. Sensitivity is the mean zero-shot accuracy on `micro`'s eleven tasks when singular directions of all these
matrices are taken out (the smallest, the largest, or random ones: a quarter, half and three quarters of those of the narrowest
matrix), and under random updates of relative norm 0.4 and 0.8, a quarter of the directions on a side that is not `any`
(`python -m benchmarks.sensitivity`). The control is the same architecture with random weights, as open_clip draws them. Seeds
are those of random directions, random updates and random weights; the spectra of the trained weights are the same for all.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.comparison.collection import Runs
from benchmarks.comparison.statistics import interval
from benchmarks.comparison.tables import MISSING, Cell, Table, bracketed, unsigned
from benchmarks.studies import base, values
from benchmarks.studies.base import SEEDS, Data, Row, Study, later
from plotting import style
from plotting.studies import curve, look, panels


WEIGHTS = ("trained", "random")
SHARES, NORMS = (0.25, 0.5, 0.75), (0.4, 0.8)
WHERE = ("tail", "top", "random")  # directions that are taken out
# Of OpenAI's ViT-B/16 before training, in percent: Jo and Kim, arXiv 2510.21175 (effective rank, the mean over layers).
PUBLISHED = {"image": 51.8, "text": 57.9}
REAL = "--model ViT-B-16-quickgelu --pretrained openai"
CELLS = [{"weights": weights, "seed": seed} for weights in WEIGHTS for seed in SEEDS]


def tables(runs: Runs, rows: Sequence[Row]) -> list[Table]:
    """Returns the spectra beside the published values, the sensitivity, and the command of each study with real weights.

    Args:
        runs: none.
        rows: spectra and sensitivity of trained and of random weights.
    """
    return [_spectra(rows), _sensitivity(rows), _commands()]


def _spectra(rows: Sequence[Row]) -> Table:
    found = defaultdict(list)
    for row in rows:
        if row["of"] == "spectrum":
            found[row["tower"], row["weights"]].append(row)
    body: list[tuple[Cell, ...]] = []
    for tower, share in PUBLISHED.items():
        published = (Cell(unsigned(share), value=share), Cell(MISSING), Cell(MISSING))
        body.append((Cell(tower), Cell("OpenAI's ViT-B/16, published"), *published))
        for weights in WEIGHTS:
            each = found[tower, weights]
            columns = (("energy_share", 100), ("entropy_share", 100), ("stable_rank", 1))
            means = [bracketed(interval([scale * row[name] for row in each]), unsigned) for name, scale in columns]
            body.append((Cell(tower), Cell(_named(each[0])), *means))
    header = ("tower", "weights", "directions with 95 % of the energy (%)", "entropy rank (%)", "stable rank")
    source = "Published: Jo and Kim, arXiv 2510.21175, before the first task."
    return Table("spectra", header, body, [values.INTERVALS, source])


def _named(row: Row) -> str:
    return f"{row.get('model', 'micro')}, {row['weights']}"


def _kinds(rows: Sequence[Row]) -> dict[tuple[Any, ...], dict[str, list[float]]]:
    """The accuracies over seeds, by what was done and then by the weights."""
    found: dict[tuple[Any, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["of"] == "sensitivity":
            kind = (row["change"], row["left"], row["right"], row["directions"], row["relative_norm"])
            found[kind][row["weights"]].append(row["accuracy"])
    return found


def _sensitivity(rows: Sequence[Row]) -> Table:
    body: list[tuple[Cell, ...]] = []
    for (change, left, right, share, norm), found in _kinds(rows).items():
        where = left if change == "removed" else f"{left} x {right}" if change == "updated" else ""
        about = (
            change,
            where,
            MISSING if share is None else f"{100 * share:g}",
            MISSING if norm is None else f"{norm:g}",
        )
        means = (bracketed(interval(found[weights]), unsigned) for weights in WEIGHTS)
        body.append((*(Cell(each) for each in about), *means))
    header = ("change", "directions, outputs x inputs", "of the narrowest matrix (%)", "relative norm", *WEIGHTS)
    return Table("zero-shot accuracy with weights changed", header, body, [values.INTERVALS])


def _commands() -> Table:
    rows: list[tuple[Cell, ...]] = [
        (Cell(name), Cell(f"python -m benchmarks.study {name} {REAL}")) for name in sorted(base.questions())
    ]
    note = "The runs are on the tasks of micro; their rates were chosen for the micro CLIP, and they want a GPU."
    return Table("each study with OpenAI's weights", ("study", "command"), rows, [note])


@style.paper()
def figure(runs: Runs, rows: Sequence[Row]) -> Figure:
    """Returns the figure of the spectra, the accuracy with directions taken out, and that under random updates.

    Args:
        runs: none.
        rows: spectra and sensitivity of trained and of random weights.
    """
    labels = [f"{tower} tower, {weights}" for weights in WEIGHTS for tower in PUBLISHED]
    removed = [f"{where} taken out" for where in WHERE]
    drawing, axes = panels(("", "", ""), [*labels, *removed])
    _draw_spectra(axes[0], rows)
    found = {kind: each["trained"] for kind, each in _kinds(rows).items()}
    zero = interval(found["none", "", "", None, None])
    for place, (where, label) in enumerate(zip(WHERE, removed, strict=True), len(labels)):
        axes[0].plot([], label=label, **look(place).line())  # for the legend
        means = [interval(found["removed", where, where, share, None]) for share in SHARES]
        curve(axes[1], [0, *(100 * share for share in SHARES)], [zero, *means], label, look(place))
    axes[1].set_xlabel("directions taken out (%)")
    updates = {kind: each for kind, each in found.items() if kind[0] == "updated" and kind[4] == max(NORMS)}
    for place, each in enumerate(reversed(updates.values())):
        mean = interval(each)
        assert mean is not None
        axes[2].errorbar(mean.mean, place, xerr=mean.half_width, **look(0).line())
    axes[2].set_yticks(range(len(updates)), [f"{kind[1]} x {kind[2]}" for kind in reversed(updates)])
    axes[2].set_xlabel(f"accuracy (%), update of norm {max(NORMS):g}")
    axes[1].set_ylabel("accuracy (%)")
    style.legend(drawing)
    return drawing


def _draw_spectra(axes: Axes, rows: Sequence[Row]) -> None:
    pairs = [(weights, tower) for weights in WEIGHTS for tower in PUBLISHED]
    for place, (weights, tower) in enumerate(pairs):
        each = [
            row["values"]
            for row in rows
            if row["of"] == "spectrum" and (row["weights"], row["tower"]) == (weights, tower)
        ]
        shown = {**look(place).line(), "marker": ""}
        up = np.mean(each, axis=0)
        axes.plot(np.linspace(0, 100, len(up)), up, label=f"{tower} tower, {weights}", **shown)
    axes.set_xlabel("singular value (%, from the largest)")
    axes.set_ylabel("singular value / largest")


STUDY = Study(
    grids={"micro": ()},
    quick=(),
    tables=tables,
    figure=figure,
    alt="Singular values, and accuracy with directions taken out or changed at random",
    data=Data(
        cells=CELLS,
        quick=[{"weights": weights, "seed": SEEDS[0], "order": "digits,letters"} for weights in WEIGHTS],
        measure=later("benchmarks.studies.measuring.micro_or_real"),
    ),
    not_shown=(
        "The published shares are of one model; no sensitivity of OpenAI's weights is published, and none was measured here. A "
        "random update is no learned one: it says what the model tolerates, not what training would do. Random weights answer "
        "by chance whatever is done to them, so only their spectra are a control. `micro`'s tasks ask little of a real CLIP."
    ),
)
