"""How full the weights get: both effective ranks over the stream, for each tower."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plotting import style, towers
from plotting.run_folder import TOWERS, Run


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
            _band(axes, values[run.rank["tower"] == tower], run.rank["after"])
    style.legend(drawing, columns=2)
    return drawing


def _band(axes: Axes, values: pd.Series, after: pd.Series) -> None:
    """Draw the mean over a tower's matrices, the quartiles around it, and write out the first and the last mean."""
    states = values.groupby(after)
    mean = states.mean()
    axes.plot(mean, "o-", color=style.BLUE, label="mean over matrices (first and last in figures)")
    low, high = states.quantile(0.25), states.quantile(0.75)
    axes.fill_between(mean.index, low, high, color=style.BLUE, alpha=0.2, linewidth=0, label="quartiles over matrices")
    for state, side in zip(mean.index[[0, -1]] if len(mean) else (), ("left", "right"), strict=False):
        axes.annotate(f"{mean[state]:.1f}", (state, mean[state]), (0, 4), textcoords="offset points", ha=side)
