"""What the figures of studies share: curves of means with the confidence interval of each as a whisker."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from benchmarks.comparison.frontier import Line
from benchmarks.comparison.metric_columns import metric
from benchmarks.comparison.statistics import Interval
from benchmarks.runs.read import MATRICES
from plotting import style
from plotting.style import Look
from strategies.about import BLACK, COLOURS, MARKERS


Intervals = Callable[[Line, np.ndarray], list[Interval | None]]  # of a line and values of its points, (points, samples)
HEIGHT = 2.2  # inches, of a row of panels


def look(colour: int, shape: int | None = None) -> Look:
    """Returns the colour, marker and line style of one of several variants.

    Args:
        colour: the place of its colour.
        shape: the place of its marker and line style; None for the colour's own marker, and a whole line.
    """
    marker = MARKERS[(colour if shape is None else shape) % len(MARKERS)]
    return Look(COLOURS[colour % len(COLOURS)], marker, style.DASHES[(shape or 0) % len(style.DASHES)])


def panels(titles: Sequence[str], labels: Sequence[str], rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Returns a figure of a page's width with a panel for each title, side by side, and the panels.

    Args:
        titles: the panels' titles; empty ones for none.
        labels: the names in the legend, for which there is room above.
        rows: of panels.
    """
    drawing = Figure((style.PAGE, rows * HEIGHT + style.legend_height(labels, style.PAGE)), layout="constrained")
    found = drawing.subplots(rows, -(-len(titles) // rows), squeeze=False)
    axes = list(found.flat)[: len(titles)]
    for panel, title in zip(axes, titles, strict=True):
        panel.set_title(title)
    return drawing, axes


def curve(
    axes: Axes, across: Sequence[float | Interval | None], up: Sequence[Interval | None], label: str, shown: Look
) -> None:
    """Draws means as points joined by a line, with a whisker where a mean has an interval.

    Args:
        axes: the panel.
        across: the points' places on the x axis, numbers or means.
        up: the means on the y axis; a point where one of both is None is left out.
        label: the curve's name in the legend.
        shown: its colour, marker and line style.
    """
    points = [(x, y) for x, y in zip(across, up, strict=True) if x is not None and y is not None]
    line = {"markersize": 3.5, **shown.line()}
    axes.plot([_mean(x) for x, _ in points], [y.mean for _, y in points], label=label, **line)
    for x, y in points:
        whiskers: dict[str, Any] = {"xerr": x.half_width if isinstance(x, Interval) else None, "yerr": y.half_width}
        if any(width is not None for width in whiskers.values()):
            axes.errorbar(_mean(x), y.mean, **whiskers, color=shown.colour, fmt="none", elinewidth=0.5, zorder=1)


def powers(axes: Axes) -> None:
    """Labels the ticks of a logarithmic x axis as 1e-3 and so on, since figures parse no mathematics.

    Args:
        axes: the panel.
    """
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0e}".replace("e-0", "e-").replace("e+00", ""))
    axes.xaxis.set_minor_formatter(NullFormatter())


@style.paper()
def trade_off(found: Sequence[Line], labels: Sequence[str], shown: Sequence[Look], intervals: Intervals) -> Figure:
    """Returns the figure of Transfer and forgetting against learning accuracy: a curve for each line, over its rates.

    Args:
        found: the lines.
        labels: their names in the legend.
        shown: how each is drawn.
        intervals: returns the means of a line's points with their intervals.
    """
    drawing, axes = panels(("", ""), labels)
    for panel, key in zip(axes, ("transfer", "forgetting"), strict=True):
        named = metric(found[0].identity, key)
        for line, label, each in zip(found, labels, shown, strict=True):
            curve(panel, intervals(line, line.learning), intervals(line, line.values(named.of)), label, each)
        across, up = found[0].corners.mean(axis=0)
        panel.plot(across, up if key == "transfer" else 0, marker="x", color=BLACK, linestyle="none", zorder=4)
        panel.set_xlabel(f"learning accuracy (%), {MATRICES[found[0].identity][1]}")
        panel.set_ylabel(f"{named.heading} ({'%' if named.more_is_better else 'points'})")
    style.legend(drawing)
    return drawing


def _mean(value: float | Interval) -> float:
    return value.mean if isinstance(value, Interval) else value
