"""The accuracy matrix as a heat map, with the figures in its cells where they can be read: rows are states, columns tasks."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmarks.runs import Run
from plotting import style


COLOURS = colormaps["cividis"]

# Inches. The narrowest cell holds "100" without decimals; a stream too long for the page makes a wider figure.
ROW = 0.19
NARROWEST = 0.19
ROOM_FOR_DECIMALS = 0.3
LEFT = 0.9
# With more cells nobody reads their figures, and drawing them takes minutes; the colours remain.
MOST_FIGURES = 1500
FURNITURE = 0.5


def figure(run: Run) -> Figure:
    """The task known: the best of the task's own classes counts."""
    return _heat_map(run.frame("known"), "accuracy on each task (%), task known")


def figure_agnostic(run: Run) -> Figure:
    """The task unknown: the best of all classes of all tasks counts."""
    return _heat_map(run.frame("unknown"), "accuracy on each task (%), task unknown")


@style.paper()
def _heat_map(states: pd.DataFrame, title: str) -> Figure:
    """Draw (T+1, T) percent; a cell that was not measured stays blank."""
    rows, columns = states.shape
    width = max(style.COLUMN if columns <= 4 else style.PAGE, LEFT + NARROWEST * columns)
    cell = (width - LEFT) / columns
    names = [f"{number} {name}" for number, name in enumerate(states.columns, start=1)]
    longest = style.LETTER * max(map(len, names))
    upright = longest > cell

    drawing = Figure((width, ROW * rows + FURNITURE + (longest if upright else 0)), layout="constrained")
    axes = drawing.add_subplot()
    image = axes.imshow(states, cmap=COLOURS, vmin=0, vmax=100, aspect="auto")
    axes.set_xticks(range(columns), names, rotation=90 if upright else 0)
    axes.set_yticks(range(rows), ["0 (zero-shot)", *map(str, range(1, rows))])
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("tasks learned")
    axes.set_xlabel(f"{title}\noutlined: right after its own training")
    if states.size <= MOST_FIGURES:
        _figures(axes, states.to_numpy(), decimals=1 if cell >= ROOM_FOR_DECIMALS else 0)
    else:
        drawing.colorbar(image, ax=axes, label="%", fraction=0.02, pad=0.01)
    for task in range(columns):
        own = Rectangle((task - 0.5, task + 0.5), 1, 1, fill=False, edgecolor=style.VERMILLION, linewidth=1.4)
        axes.add_patch(own)
    return drawing


def _figures(axes: Axes, states: np.ndarray, decimals: int) -> None:
    for (row, column), percent in np.ndenumerate(states):
        if not np.isnan(percent):
            # Cividis grows evenly from dark to light, so black is readable from its middle on.
            colour = "black" if percent > 50 else "white"
            axes.text(column, row, f"{percent:.{decimals}f}", ha="center", va="center", color=colour)
