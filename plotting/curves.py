"""The accuracy of each task over the stream, a small panel for each: before its turn, and from its training on."""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.runs import Run
from plotting import style


# Inches.
PANEL_HEIGHT = 1.0
FURNITURE = 0.6


@style.paper()
def figure(run: Run) -> Figure:
    """Accuracy in percent with the task known, over the number of tasks learned."""
    tasks = len(run.tasks)
    columns = min(tasks, 4 if tasks <= 16 else 6)
    width = style.COLUMN if columns <= 2 else style.PAGE
    rows = math.ceil(tasks / columns)
    titles = [style.wrap(f"{number} {name}", width / columns) for number, name in enumerate(run.tasks, start=1)]
    lines = max(title.count("\n") for title in titles) + 1

    drawing = Figure((width, FURNITURE + rows * (PANEL_HEIGHT + 0.13 * lines)), layout="constrained")
    first = None
    for task, title in enumerate(titles):
        axes = drawing.add_subplot(rows, columns, task + 1, sharex=first, sharey=first)
        first = first or axes
        axes.set_title(title)
        axes.tick_params(labelleft=task % columns == 0)
        _panel(axes, run.frame("known").iloc[:, task], task + 1)
        style.over_tasks(axes, tasks, ticks=4)
        axes.set_ylim(-4, 104)
        axes.set_yticks([0, 50, 100])
    drawing.supxlabel("tasks learned")
    drawing.supylabel("accuracy (%)")
    style.legend(drawing, columns=2 if width == style.COLUMN else 4)
    return drawing


def _panel(axes: Axes, states: pd.Series, own: int) -> None:
    """Draw one task's (T+1,) percent; `own` is the state right after its training."""
    axes.axhline(states.loc[0], color=style.GREY, linewidth=0.8, linestyle=":", label="zero-shot")
    axes.axvline(own, color=style.GREY, linewidth=0.6)
    axes.plot(states.loc[:own], color=style.BLUE, linestyle="--", marker=".", label="before its turn")
    axes.plot(states.loc[own:], color=style.VERMILLION, marker=".", label="from its training on")
    axes.plot(states.loc[[own]], "D", color=style.BLACK, label="right after its training")
