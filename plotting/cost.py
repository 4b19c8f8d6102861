"""Avg against what it costs (time, memory, storage, trained parameters), with the Pareto front of the methods.

`python -m plotting.cost [RESULTS...] [--cost training_seconds] -o FILE`
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import click
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from benchmarks.comparison import metric_columns
from benchmarks.comparison.costs import BY_KEY, COSTS, Cost, Point, explained, pareto, points
from benchmarks.comparison.groups import Group, Method
from benchmarks.comparison.run_filters import choice, chosen, only_group
from benchmarks.config.terminal import Command
from benchmarks.runs.read import MATRICES
from plotting import style
from plotting.captioned import Captioned
from plotting.captioned import caption as captioned
from plotting.captioned import spread as error_bars
from plotting.command import Target, drawable, output, write
from plotting.direct import Mark, height, write_names
from plotting.found import commands
from plotting.gaps import Gap, drawn, is_empty, sentence


HEIGHT = 3.0  # inches at least
SPAN = 20.0  # the largest cost over the smallest, from which on the axis is logarithmic
AXES = ("training_seconds", "peak_memory", "storage", "trained_parameters")


@style.paper()
def figure(group: Group, width: float = style.PAGE, cost: str = AXES[0]) -> Figure:
    """Returns the figure of Avg in percent (y axis) against a cost (x axis), with a mark for each method and its name beside
    it.

    Avg is of the accuracies that the protocol reports. Marks are means over runs, or of Avg over orders if there are several;
    error bars are one standard deviation to each side. The step line is the Pareto front: the methods than which no other is
    both cheaper and more accurate. Zero-shot and joint training are not ranked; zero-shot, which costs nothing, is the dotted
    line. The x axis is logarithmic where costs differ by more than a factor of twenty; below the smallest it is then linear, so
    that it has a 0.

    Args:
        group: the runs.
        width: in inches.
        cost: what the x axis shows: `training_seconds`, `peak_memory`, `storage` or `trained_parameters`.
    """
    about, found = BY_KEY[cost], points(group, BY_KEY[cost])
    unlearned = [point for point in found if point.method.runs[0].learns_nothing]
    found = [point for point in found if point not in unlearned]
    drawing = Figure((width, height(len(found), width, HEIGHT)), layout="constrained")
    axes = drawing.add_subplot()
    marks: list[Mark] = []
    looks = dict(zip(group.methods, style.looks(group.methods), strict=True))
    for point in found:
        look, x, y = looks[point.method], point.cost, point.accuracy
        line = {**look.line(), "linestyle": "none", "linewidth": 0.6, "markersize": 7 if look.ours else 5}
        axes.errorbar(x.mean, y.mean, xerr=x.deviation, yerr=y.deviation, **line)
        bars = (x.deviation or 0.0, y.deviation or 0.0)
        marks.append(Mark(x.mean, y.mean, point.method.label, look.colour, look.ours, 3.0, *bars))
    axes.margins(0.1)
    _across(axes, [point.cost.mean for point in found], about)
    axes.set_xlim(*axes.get_xlim())  # which the lines do not widen
    marks += [*_lines(axes, unlearned, looks), *_front(axes, pareto(found))]
    axes.set_title(style.wrap(sentence(gaps(group)), width - 0.6), color=style.DARK)
    axes.set_xlabel(about.heading)
    axes.set_ylabel(f"Avg (%), {MATRICES[group.identity][1]}")
    write_names(drawing, axes, marks)
    return drawing


def _lines(axes: Axes, unlearned: Sequence[Point], looks: Mapping[Method, style.Look]) -> Iterator[Mark]:
    """Draws the Avg of zero-shot, which costs nothing, as a line; yields its name's place."""
    for point in unlearned:
        level = point.accuracy.mean
        axes.axhline(level, color=style.GREY, linewidth=0.6, linestyle=":")
        yield Mark(axes.get_xlim()[1], level, point.method.label, looks[point.method].colour, radius=0.0)


def _front(axes: Axes, best: Sequence[Point]) -> Iterator[Mark]:
    """Draws the step line of the front, to the right edge; yields its parts, off which names are to keep."""
    x = [*(point.cost.mean for point in best), axes.get_xlim()[1]]
    y = [point.accuracy.mean for point in best]
    axes.step(x, [*y, *y[-1:]] if y else x, where="post", color=style.GREY, linewidth=0.9, zorder=1)
    for (here, there), level in zip(pairwise(x), y, strict=True):
        yield Mark((here + there) / 2, level, "", style.GREY, radius=0.0, across=(there - here) / 2)
    for across, (low, high) in zip(x[1:-1], pairwise(y), strict=True):
        yield Mark(across, (low + high) / 2, "", style.GREY, radius=0.0, up=(high - low) / 2)


def _across(axes: Axes, costs: Sequence[float], cost: Cost) -> None:
    """Sets scale, limits and ticks of the x axis."""
    positive = [value for value in costs if value > 0]
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: cost.show(value)))
    if not positive or max(positive) <= SPAN * min(positive):
        return
    least, most = min(positive), max(positive)
    zero = [0.0] if len(positive) < len(costs) else []
    decades = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    axes.set_xscale("symlog", linthresh=least, linscale=0.5) if zero else axes.set_xscale("log")
    axes.set_xlim(-0.3 * least if zero else least / 2, 3 * most)
    axes.set_xticks([*zero, *(10.0**decade for decade in decades if least <= 10.0**decade <= 3 * most)])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: cost.show(value)))
    axes.xaxis.set_minor_locator(NullLocator())


def in_report(group: Group) -> Iterator[Captioned]:
    """Yields the one figure of a group for the report: Avg against the time of training, or for runs from different
    machines against the trained parameters.

    It yields none if no method has an Avg.

    Args:
        group: the runs.
    """
    cost, missing = (
        BY_KEY["trained_parameters" if len(metric_columns.machines(group.runs)) > 1 else AXES[0]],
        gaps(group),
    )
    if is_empty(group, missing):
        return
    said = "; ".join(
        f"{point.method.label} {point.accuracy.mean:.1f} at {cost.show(point.cost.mean)}"
        for point in points(group, cost)
    )
    alt = f"Avg in percent, and {cost.heading}: {said}."
    yield Captioned(figure(group, cost=cost.key), caption(group, cost.key), alt, drawn(group, missing))


def caption(group: Group, cost: str) -> str:
    """Returns the caption of the figure: what it shows, of which runs, and of which it has nothing.

    Args:
        group: the runs.
        cost: what the x axis shows.
    """
    orders = len(group.orders)
    means = f"of Avg over {orders} orders, of the cost over runs" if orders > 1 else "over runs"
    bars = (
        "Error bars: one standard deviation over these to each side." if orders > 1 else error_bars(group, "Error bars")
    )
    nothing = any(method.runs[0].learns_nothing for method in group.methods)
    line = " Dotted: zero-shot, which costs nothing and is not ranked." if nothing else ""
    apart = BY_KEY[cost].is_measured and len(metric_columns.machines(group.runs)) > 1
    machines = " The runs come from different machines, so that this does not compare." if apart else ""
    words = (
        f"Avg in percent ({MATRICES[group.identity][1]}) against {BY_KEY[cost].heading}. Step line: the Pareto front, the "
        f"methods than which no other is both cheaper and more accurate, by means.{line} {explained(BY_KEY[cost])}"
        f"{machines} Marks are means {means}. {bars}"
    )
    return captioned(group, words, gaps(group))


def gaps(group: Group) -> list[Gap]:
    """Returns the methods without a mark: not run in every order, or without Avg, since they learn all tasks at once.

    Args:
        group: the runs.
    """
    shown = {point.method for point in points(group, COSTS[0])}
    found = []
    for method in group.methods:
        if method not in shown:
            everywhere = all(method.in_order(tasks) for tasks in group.orders)
            found.append(Gap(method, "no Avg" if everywhere else "not run in every order"))
    return found


@click.command("python -m plotting.cost", cls=Command, help=commands()["cost"])
@choice
@click.option("--cost", type=click.Choice(AXES), default=AXES[0], show_default=True, help="what the x axis shows")
@output
def main(cost: str, target: Target, **choice: Any) -> None:
    """Reads runs, draws them in one figure, and writes it to a file."""

    def make() -> tuple[Callable[[float], Figure], str]:
        group = only_group(chosen(**choice))
        drawable(group, gaps(group))
        return lambda width: figure(group, width, cost), caption(group, cost)

    write(target, make)


if __name__ == "__main__":
    main()
