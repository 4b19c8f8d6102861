"""Each method's whole trade-off: Transfer and forgetting against learning accuracy, over its learning rates.

`python -m plotting.frontier [RESULTS...] [--along lr] -o FILE`
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.comparison import frontier, metric_columns
from benchmarks.comparison.frontier import Line
from benchmarks.comparison.groups import Group, Method
from benchmarks.comparison.run_filters import choice, chosen, only_group
from benchmarks.config.errors import UserError
from benchmarks.config.terminal import Command, say
from benchmarks.runs.read import MATRICES
from plotting import style
from plotting.captioned import Captioned
from plotting.captioned import caption as captioned
from plotting.command import Target, drawable, output, write
from plotting.found import commands
from plotting.gaps import Gap, drawn, labels
from plotting.multiples import MOST, Curve, by_method
from strategies.about import BLACK


HEIGHT = 2.5  # inches, of the panels
STEPS = 60  # learning accuracies at which a band is drawn
ROUNDING = 1e-9  # percent, of means
BEST = 46.0  # area of a ring around a point that no method's beats, in points squared
PANELS = ("transfer", "forgetting")
DASHES = {"transfer": "-", "forgetting": "--"}
UNLIKE = " The methods do not all have the same seeds and orders, so there are no rings."


@style.paper()
def figure(group: Group, width: float = style.PAGE, along: Sequence[str] = (frontier.ALONG,)) -> Figure:
    """Returns the figure: Transfer and forgetting against learning accuracy, in percent, side by side, or in a column's
    width one below the other.

    Each method is a line over the values of some settings, in their order; its points are means over seeds and orders. A
    band, one standard deviation to each side, is drawn along the method's front (the points that none of its others beats in
    learning accuracy and Transfer), as far as every run reaches. Rings mark the points that no point of any method beats in
    the panel's two values; there are none if the methods do not all have the same seeds and orders. A cross on a dotted line
    marks zero-shot; points that learn less than that lie outside the panels. All are of the
    task-aware accuracies, or of the task-agnostic ones if the protocol reports those. More than six methods have a panel
    each instead, with Transfer and forgetting along the front, and all others in grey.

    Args:
        group: the runs.
        width: in inches.
        along: the settings over which the lines go.

    Raises:
        UserError: no method has several values of one of the settings.
    """
    every = frontier.lines(group, along)
    names = labels(_methods(every), _gaps(every))
    if len(every) > MOST:
        return _by_method(every, names, width)
    looks = style.looks(_methods(every).methods)
    shown = [(line, look) for line, look in zip(every, looks, strict=True) if not line.why_not]
    rows = 1 if width > style.COLUMN else len(PANELS)
    drawing = Figure((width, rows * HEIGHT + style.legend_height(names, width)), layout="constrained")
    axes: Any = drawing.subplots(rows, len(PANELS) // rows)
    for panel, key in zip(axes, PANELS, strict=True):
        _panel(panel, shown, key, single=len(along) == 1)
    for name, look in zip(names, looks, strict=True):
        axes[0].plot([], [], label=name, **look.line())
    style.legend(drawing)
    return drawing


def _by_method(every: Sequence[Line], names: Sequence[str], width: float) -> Figure:
    """Each method in a panel of its own, along its front."""
    lines = {line.method: line for line in every if not line.why_not}

    def curves(method: Method) -> list[Curve]:
        if method not in lines:
            return []
        line = lines[method]
        across = line.learning.mean(axis=1)[line.front]  # (points of the front,)
        found = [(key, metric_columns.metric(line.identity, key)) for key in PANELS]
        return [
            Curve(across, line.values(metric.of).mean(axis=1)[line.front], metric.heading, DASHES[key], ".")
            for key, metric in found
        ]

    drawing, axes = by_method(_methods(every), names, curves, width)
    for panel in axes:
        panel.margins(0.06)
    drawing.supxlabel(f"learning accuracy (%), {MATRICES[every[0].identity][1]}")
    drawing.supylabel("Transfer (%), forgetting (points)")
    return drawing


def in_report(group: Group) -> Iterator[Captioned]:
    """Yields the one figure of a group for the report, if a method ran with several learning rates.

    Args:
        group: the runs.
    """
    try:
        every = frontier.lines(group, (frontier.ALONG,))
    except UserError:
        return
    shown = [line for line in every if not line.why_not]
    if not shown:
        return
    said = "; ".join(f"{line.method.label} {line.areas.mean():.1f}" for line in shown)
    words = caption(every, (frontier.ALONG,))
    yield Captioned(
        figure(group), words, f"Area of each method in percent: {said}.", drawn(_methods(every), _gaps(every))
    )


def caption(every: Sequence[Line], along: Sequence[str]) -> str:
    """Returns the caption of the figure: what it shows, of which runs, and of which it has nothing.

    Args:
        every: the methods' lines, at least one of which can be drawn.
        along: the settings over which they go.
    """
    shown = [line for line in every if not line.why_not]
    words = (
        f"Transfer in percent and forgetting in points against learning accuracy ({MATRICES[every[0].identity][1]}), over "
        f"values of {' and '.join(along)}. Points are means over seeds and orders"
    )
    if len(every) > MOST:
        words += "; each method has a panel, with the front of its own points and all others in grey."
        return captioned(_methods(every), words, _gaps(every))
    rings = "; rings mark the points that no other beats" if frontier.are_alike(shown) else ""
    has_bands = any(len(line.samples) > 1 and len(line.front) > 1 for line in shown)
    bands = " Bands along a method's front: one standard deviation over runs to each side." if has_bands else ""
    words += f"{rings}. The cross is zero-shot, left of which nothing is shown.{'' if rings else UNLIKE}{bands}"
    return captioned(_methods(every), words, _gaps(every))


def _methods(every: Sequence[Line]) -> Group:
    """The lines as the methods of a group, each with all runs of its points."""
    return Group(tuple(line.method for line in every))


def _gaps(every: Sequence[Line]) -> list[Gap]:
    below = "learns no more than zero-shot"
    whys = [(line, line.why_not or (below if line.stays_below else "")) for line in every]
    return [Gap(line.method, why) for line, why in whys if why]


def _panel(axes: Axes, shown: Sequence[tuple[Line, style.Look]], key: str, single: bool) -> None:
    """Draws one metric against learning accuracy."""
    identity = shown[0][0].identity
    metric = metric_columns.metric(identity, key)
    means, bands = [], [np.empty((2, 0))]
    for line, look in shown:
        across, up = line.learning.mean(axis=1), line.values(metric.of).mean(axis=1)  # (points,) each
        means.append(np.stack([across, up]))
        bands.append(_band(axes, line, metric, look))
        order = list(range(len(across))) if single else line.front
        axes.plot(across[order], up[order], **{**look.line(), "marker": "", "linewidth": 0.9})
        axes.plot(across, up, **{**look.line(), "linestyle": "none"})
    learned, kept = np.concatenate([line.corners for line, _ in shown]).mean(axis=0)
    level = kept if key == "transfer" else 0.0
    points = np.concatenate(means, axis=1)  # (2, all points)
    points = points[:, points[0] >= learned - ROUNDING]
    alike = frontier.are_alike([line for line, _ in shown])
    best = frontier.front(points[0], points[1] if metric.more_is_better else -points[1]) if alike else []
    axes.scatter(points[0, best], points[1, best], s=BEST, facecolor="none", edgecolor=BLACK, linewidth=0.5, zorder=3)
    axes.axhline(level, color=style.GREY, linewidth=0.6, linestyle=":")
    axes.plot(learned, level, marker="x", color=BLACK, linestyle="none", zorder=4)
    _limit(axes, np.concatenate([points, *bands, [[learned], [level]]], axis=1))
    axes.set_xlabel(f"learning accuracy (%), {MATRICES[identity][1]}")
    axes.set_ylabel(f"{metric.heading} ({'%' if metric.more_is_better else 'points'})")


def _limit(axes: Axes, points: np.ndarray) -> None:
    """Sets the limits of both axes to what the points span, (2, N), and a margin."""
    low, high = points.min(axis=1), points.max(axis=1)
    margin = np.maximum(0.06 * (high - low), 0.5)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])


def _band(axes: Axes, line: Line, metric: Any, look: style.Look) -> np.ndarray:
    """Draws a standard deviation to each side of a line's front, where it has several points and runs; returns the points
    of both edges, (2, N).
    """
    low, high = line.reach
    if low == high or len(line.samples) < 2:
        return np.empty((2, 0))
    across = np.linspace(low, high, STEPS)
    up = line.at(across, metric.of)  # (STEPS, samples)
    mean, deviation = up.mean(axis=1), up.std(axis=1, ddof=1)  # NaN where a run does not reach, which is not drawn
    axes.fill_between(across, mean - deviation, mean + deviation, color=look.colour, alpha=0.15, linewidth=0)
    edges = np.concatenate([[across, mean - deviation], [across, mean + deviation]], axis=1)
    return edges[:, ~np.isnan(edges[1])]


@click.command("python -m plotting.frontier", cls=Command, help=commands()["frontier"])
@choice
@click.option("--along", metavar="NAME,...", default=frontier.ALONG, show_default=True, help="settings of a line")
@output
def main(along: str, target: Target, **choice: Any) -> None:
    """Reads runs, draws them in one figure, and writes it to a file."""

    def make() -> tuple[Callable[[float], Figure], str]:
        names = frontier.names(along)
        group = only_group(chosen(**choice))
        every = frontier.lines(group, names)
        drawable(_methods(every), _gaps(every))
        if not frontier.are_alike([line for line in every if not line.why_not]):
            say(f"note:{UNLIKE}")
        return lambda width: figure(group, width, names), caption(every, names)

    write(target, make)


if __name__ == "__main__":
    main()
