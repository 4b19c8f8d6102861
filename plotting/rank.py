"""How full the weights get: both effective ranks over the stream, for each tower."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.runs import TOWERS, Run
from plotting import style, towers


@style.paper()
def figure(run: Run) -> Figure:
    """Energy share in percent of the dimension (NuSA-CL) above, entropy rank (Roy and Vetterli, 2007) below."""
    measures = {
        "energy share (% of dimension)": 100 * run.rank["energy_share"],
        "entropy rank (directions)": run.rank["effective_rank"],
    }
    drawing, grid = towers.panels(run)
    for row, (label, values) in zip(grid, measures.items(), strict=True):
        row[0].set_ylabel(label)
        for axes, tower in zip(row, TOWERS, strict=True):
            mean = _band(axes, values[run.rank["tower"] == tower], run.rank["after"])
            ends = dict.fromkeys(mean.index[[0, -1]] if len(mean) else ())
            axes.set_title(f"{tower} tower: {' → '.join(f'{mean[state]:.1f}' for state in ends)}")
    style.legend(drawing, columns=2)
    return drawing


def _band(axes: Axes, values: pd.Series, after: pd.Series) -> pd.Series:
    """Draw the mean over a tower's matrices with the quartiles around it, and return the mean by state."""
    states = values.groupby(after)
    mean = states.mean()
    axes.plot(mean, "o-", color=style.BLUE, label="mean over matrices, first → last above each panel")
    low, high = states.quantile(0.25), states.quantile(0.75)
    axes.fill_between(mean.index, low, high, color=style.BLUE, alpha=0.2, linewidth=0, label="quartiles over matrices")
    return mean
