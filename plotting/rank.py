"""Rank accumulation: the effective rank of the weights over the stream, for each method and tower.

`python -m plotting.rank [RESULTS...] -o FILE`; `--by-block` draws one method's matrices one by one.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from benchmarks.comparison.groups import Group, Method, alone
from benchmarks.comparison.run_filters import choice, chosen, only_group
from benchmarks.config.errors import UserError
from benchmarks.config.terminal import Command
from benchmarks.runs.csv_files import ATTENTION, TOWERS
from benchmarks.runs.read import Run
from plotting import style
from plotting.captioned import Captioned, each, spread
from plotting.captioned import caption as captioned
from plotting.command import Target, drawable, output, write
from plotting.gaps import Gap, drawn, is_empty, labels, of_runs
from plotting.multiples import MOST, Curve, by_method, by_tower


# Heading, column of `rank.csv`, factor.
MEASURES = (
    ("energy share\n(% of dimension)", "energy_share", 100.0),
    ("entropy rank\n(directions)", "effective_rank", 1.0),
)
ROW = 1.25  # inches
ENTROPY = "entropy rank (exp of the entropy of the singular values scaled to sum 1)"


@style.paper()
def figure(group: Group, width: float = style.PAGE) -> Figure:
    """Returns the figure of energy share and entropy rank (rows) over the number of tasks learned (x axis).

    Energy share (NuSA-CL's effective rank) is how many of the largest singular values hold the share `rho` (the
    method's, a column of `rank.csv`) of the sum of their squares, in percent of their number; the others are the null
    directions. Entropy rank (Roy and Vetterli, 2007) is exp of the entropy of the singular values scaled to
    sum 1, in directions. The columns are the image and the text tower. Lines are means over a tower's attention
    matrices and over runs. Bands are one standard deviation over runs, or for a single run the quartiles over matrices.
    More than six methods have a panel each instead, with the entropy rank of both towers, and all others in grey.

    Args:
        group: the runs.
        width: in inches.
    """
    named = labels(group, gaps(group))
    if len(group.methods) > MOST:
        return _by_method(group, named, width)
    height = len(MEASURES) * ROW + 0.5 + style.legend_height(named, width)
    drawing = Figure((width, height), layout="constrained")
    grid = drawing.subplots(len(MEASURES), 2, sharex=True)
    for column, tower in enumerate(TOWERS):
        grid[0][column].set_title(f"{tower} tower")
        for row, (label, name, factor) in zip(grid, MEASURES, strict=True):
            axes = row[column]
            style.over_tasks(axes, len(group.first.tasks), ticks=11 if width > style.COLUMN else 6)
            if not column:
                axes.set_ylabel(label)
            for method, look, words in zip(group.methods, style.looks(group.methods), named, strict=True):
                measured = [run for run in method.runs if not _gap(run)] or method.runs
                states = np.array([over_states(run, tower, name) for run in measured]) * factor  # (R, T+1)
                style.plot_band(axes, states, look, words)
            if len(group.runs) == 1:
                _quartiles(axes, group.first, tower, name, factor)
    drawing.supxlabel("tasks learned")
    style.legend(drawing)
    return drawing


def _by_method(group: Group, named: Sequence[str], width: float) -> Figure:
    def curves(method: Method) -> list[Curve]:
        measured = [run for run in method.runs if not _gap(run)]

        def mean(tower: str) -> np.ndarray:
            return np.asarray(
                np.mean([over_states(run, tower, "effective_rank") for run in measured], axis=0)
            )  # (T+1,)

        return by_tower(mean, first=0) if measured else []

    drawing, found = by_method(group, named, curves, width)
    for axes in found:
        style.over_tasks(axes, len(group.first.tasks), ticks=4)
    drawing.supxlabel("tasks learned")
    drawing.supylabel("entropy rank (directions)")
    return drawing


def of_run(run: Run) -> Figure:
    """Returns the figure of a single run's energy share and entropy rank (rows) over the number of tasks learned (x axis).

    Energy share is how many of the largest singular values hold the share `rho` (a column of `rank.csv`) of the sum of
    their squares, in percent of their number. Entropy rank is exp of the entropy of the singular values scaled to
    sum 1. The columns are the image and the text tower. Lines are means over a tower's attention matrices, bands
    the quartiles. It is written to `plots/rank.png` and `.svg` of the run folder.

    Args:
        run: the run.

    Raises:
        UserError: `rank.csv` is missing or damaged.
    """
    return figure(alone(run))


def gaps(group: Group) -> list[Gap]:
    """Returns the methods of which some or all runs have no rank of an attention matrix to draw.

    Args:
        group: the runs.
    """
    return of_runs(group, _gap)


def _gap(run: Run) -> str:
    found = run.rank[run.rank["matrix"].isin(ATTENTION)]
    return "" if found["effective_rank"].notna().any() else "no rank measured"


def in_report(group: Group) -> Iterator[Captioned]:
    """Yields the one figure of a group for the report: energy share and entropy rank of the attention matrices over the
    number of tasks learned.

    It yields none if none was measured.

    Args:
        group: the runs.
    """
    missing = gaps(group)
    if is_empty(group, missing):
        return
    yield Captioned(
        figure(group),
        caption(group),
        f"Entropy rank before and after the stream: {each(group, lambda run: run.entropy_rank)}.",
        drawn(group, missing),
    )


def caption(group: Group) -> str:
    """Returns the caption of the figure: what it shows, of which runs, and of which it has nothing.

    Args:
        group: the runs.
    """
    start = "Effective rank of the attention's matrices over the number of tasks learned"
    if len(group.methods) > MOST:
        words = (
            f"{start}, as {ENTROPY}: image tower (solid) and text tower (dashed). Each method has a panel, with all others "
            "in grey; lines are means over a tower's matrices and over runs."
        )
        return captioned(group, words, gaps(group))
    words = (
        f"{start}. Above, energy share: how many of the largest singular values hold the share rho of the sum of all squares, "
        f"in percent of their number. Below, {ENTROPY}. Lines are means over a tower's matrices and over runs."
    )
    alone = "Band: the quartiles over matrices."
    return captioned(group, f"{words} {alone if len(group.runs) == 1 else spread(group, 'Bands')}", gaps(group))


def caption_by_block(group: Group) -> str:
    """Returns the caption of the figure of one method's matrices: what it shows, of which runs.

    Args:
        group: the runs of one method.
    """
    words = (
        f"Effective rank of the attention's matrices of {group.methods[0].label} over the number of tasks learned, as "
        f"{ENTROPY}, in percent of the number of singular values: one line for each block of a tower, the first dark and "
        "the last light, as means over runs."
    )
    return captioned(group, words, gaps(group))


def over_states(run: Run, tower: str, name: str) -> np.ndarray:
    """Returns a column of `rank.csv` after 0, 1, ..., T tasks, (T+1,), as the mean over a tower's attention matrices.

    It is NaN after a task where nothing was measured. The unit is that of the column.

    Args:
        run: the run.
        tower: `image` or `text`.
        name: the column, for instance `effective_rank`, in directions.
    """
    states = range(len(run.tasks) + 1)
    return _of_tower(run, tower).groupby("after")[name].mean().reindex(states).to_numpy()


def _of_tower(run: Run, tower: str) -> pd.DataFrame:
    return run.rank[(run.rank["tower"] == tower) & run.rank["matrix"].isin(ATTENTION)]


def _quartiles(axes: Any, run: Run, tower: str, name: str, factor: float) -> None:
    states = _of_tower(run, tower).groupby("after")[name]
    low, high = factor * states.quantile(0.25), factor * states.quantile(0.75)
    label = "quartiles over matrices"
    axes.fill_between(low.index, low, high, color=style.GREY, alpha=0.3, linewidth=0, label=label)


@style.paper()
def by_block(method: Method, width: float = style.PAGE) -> Figure:
    """Returns the figure of one method's entropy rank in percent of the dimension, with a line for each block of a
    tower.

    The y axis is the entropy rank (exp of the entropy of the singular values scaled to sum 1) in percent of the number
    of singular values, the x axis the number of tasks learned, 0 to T. There is one panel for each tower (rows) and
    each of the attention matrices q, k, v and o (columns). The first block is dark, the last light. Lines are means
    over the method's runs.

    Args:
        method: the method, with runs of equal numbers of tasks.
        width: in inches.
    """
    table = pd.concat([run.rank for run in method.runs])
    table = table.assign(share=100 * table["effective_rank"] / table["dim"])
    mean = table.groupby(["tower", "matrix", "block", "after"])["share"].mean()
    drawing = Figure((width, 3.4 if width > style.COLUMN else 2.6), layout="constrained")
    grid = drawing.subplots(2, len(ATTENTION), sharex=True, sharey=True)
    blocks = 1 + int(table["block"].max())
    shades = colormaps["cividis"](np.linspace(0, 0.9, blocks))
    for row, tower in zip(grid, TOWERS, strict=True):
        row[0].set_ylabel(f"{tower} tower")
        for axes, matrix in zip(row, ATTENTION, strict=True):
            style.over_tasks(axes, len(method.runs[0].tasks), ticks=4)
            axes.set_title(matrix if tower == TOWERS[0] else "")
            for block in range(blocks):
                if (tower, matrix, block) in mean.index.droplevel("after"):
                    axes.plot(mean[tower, matrix, block], color=shades[block], label=f"block {block + 1}")
    drawing.supxlabel("tasks learned")
    drawing.supylabel("entropy rank (% of dimension)")
    style.legend(drawing)
    return drawing


@click.command("python -m plotting.rank", cls=Command)
@choice
@output
@click.option("--by-block", "blocks", is_flag=True, help="draw one method's matrices, with a line for each block")
def main(target: Target, blocks: bool, **choice: Any) -> None:
    """Draw the effective rank over the stream, for each method of the run folders at or below RESULTS (default:
    results).

    The x axis is the number of tasks learned. Without --by-block, the rows are energy share and entropy rank. --stream,
    --order, --strategy and --setting restrict which runs are drawn.
    """

    def make() -> tuple[Callable[[float], Figure], str]:
        group = only_group(chosen(**choice))
        drawable(group, gaps(group))
        if not blocks:
            return lambda width: figure(group, width), caption(group)
        if len(group.methods) > 1:
            keys = ", ".join(method.key for method in group.methods)
            raise UserError(f"--by-block draws one method, and there are {keys}; choose with --strategy or --setting")
        return lambda width: by_block(group.methods[0], width), caption_by_block(group)

    write(target, make)


if __name__ == "__main__":
    main()
