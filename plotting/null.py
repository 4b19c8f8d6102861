"""The number of null directions over the stream, for each tower and each kind of weight matrix."""

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.runs.csv_files import TOWERS
from benchmarks.runs.read import Run
from plotting import style
from strategies.about import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILLION


LINES = {
    "q": (BLUE, "o"),
    "k": (ORANGE, "s"),
    "v": (GREEN, "^"),
    "o": (VERMILLION, "D"),
    "fc": (PURPLE, "v"),
    "proj": (BLACK, "P"),
}


@style.paper()
def of_run(run: Run) -> Figure:
    """Returns the figure of the number of null directions (y axis) over the number of tasks learned (x axis, 0 to T).

    Null directions are the singular directions of a weight matrix beyond the principal ones. The principal ones are
    those of the largest singular values, as few as hold the share `rho` (the method's, a column of `rank.csv`) of the
    energy (sum of squared singular values). Left is the image tower, right the text tower; the upper row is the mean
    over blocks, the lower row the minimum over blocks. There is a line for each measured kind of weight matrix: `q`,
    `k`, `v`, `o`, `fc`, `proj`. It is written to `plots/null.png` and `.svg` of the run folder.

    Args:
        run: the run.

    Raises:
        UserError: `rank.csv` is missing or damaged.
    """
    drawing = Figure((style.PAGE, 3.8), layout="constrained")
    grid = drawing.subplots(2, 2, sharex=True)
    for axes in grid.flat:
        style.over_tasks(axes, len(run.tasks), ticks=11)
    for axes, tower in zip(grid[0], TOWERS, strict=True):
        axes.set_title(f"{tower} tower")
    drawing.supxlabel("tasks learned")
    left = run.rank.groupby(["after", "tower", "matrix"])["null_directions"]
    values = {"null directions\n(mean over blocks)": left.mean(), "null directions\n(fewest in a block)": left.min()}
    kinds = [kind for kind in LINES if kind in set(run.rank["matrix"])]
    for row, (label, found) in zip(grid, values.items(), strict=True):
        row[0].set_ylabel(label)
        lines = found.unstack(["tower", "matrix"]).reindex(columns=pd.MultiIndex.from_product([TOWERS, kinds]))
        for axes, tower in zip(row, TOWERS, strict=True):
            for kind in kinds:
                colour, marker = LINES[kind]
                # Open markers, since lines with equal values hide each other.
                axes.plot(lines[tower, kind], color=colour, marker=marker, fillstyle="none", label=kind)
            # From zero, to show how much is left; the figure `rank` shows small changes.
            axes.update_datalim([(0, 0)])
            axes.set_ylim(bottom=0)
    style.legend(drawing, columns=len(kinds))
    return drawing
