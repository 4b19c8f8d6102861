"""Transfer against Last, with storage between tasks as marker size, and bar charts of Transfer, Avg and Last.

`python -m plotting.compare [RESULTS...] -o FILE`
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.comparison import metric_columns
from benchmarks.comparison.costs import size
from benchmarks.comparison.groups import Group
from benchmarks.comparison.statistics import Spread, over_orders
from benchmarks.comparison.tables import MISSING
from benchmarks.runs.read import MATRICES, Run
from plotting import style
from plotting.captioned import Captioned, each, spread
from plotting.captioned import caption as captioned
from plotting.command import for_group
from plotting.direct import Mark, height, write_names
from plotting.gaps import Gap, drawn, is_empty
from strategies.about import BLACK


SCATTER, BAR = 2.6, 0.15  # inches, the first at least
# Marker area in points squared: without storage, and the additional area at the maximal storage. The area grows with the
# square root of the storage, so that small values remain visible next to large ones.
LEAST, MOST = 12.0, 240.0
LONGEST = 28  # characters of a bar's name
BARS = ("transfer", "avg", "last")


@style.paper()
def figure(group: Group, width: float = style.PAGE) -> Figure:
    """Returns the figure of Transfer against Last, and below it, or in a figure wider than a page beside it, bars of
    Transfer, Avg and Last, all in percent.

    Above, each method has a mark with its name, Last on the x axis and Transfer on the y axis; the mark's area grows with
    the square root of the most bytes stored between tasks. A method without Transfer has no mark, and one that did not run
    in every order has neither mark nor bars. Below, there is one panel for each metric and one bar for each method. All
    are of the task-aware accuracies, or of the task-agnostic ones if the protocol reports those. Marks and bars are
    means over seeds, or over orders if there are several; error bars are one standard deviation to each side.

    Args:
        group: the runs.
        width: in inches.
    """
    identity, orders = group.accuracy_identity, list(group.orders)
    found = {metric.key: metric for metric in metric_columns.headline(identity)}
    below = BAR * len(group.methods) + 0.7
    if width > style.PAGE:  # of a slide: side by side
        drawing = Figure((width, max(SCATTER, below)), layout="constrained")
        parts: Any = drawing.subfigures(1, 2, width_ratios=[2, 3])
    else:
        above = height(len(group.methods), width, SCATTER)
        drawing = Figure((width, above + below), layout="constrained")
        parts = drawing.subfigures(2, 1, height_ratios=[above, below])
    top, bottom = parts

    axes, marks = top.add_subplot(), []
    most = max(max(map(metric_columns.storage, group.runs)), 1)
    for method, look in zip(group.methods, style.looks(group.methods), strict=True):
        across, up = (over_orders(method, orders, found[key].of) for key in ("last", "transfer"))
        stored = float(np.mean([metric_columns.storage(run) for run in method.runs]))
        if across is not None and up is not None:
            area = LEAST + MOST * (stored / most) ** 0.5
            _dot(axes, across, up, look, area)
            bars = (across.deviation or 0.0, up.deviation or 0.0)
            marks.append(Mark(across.mean, up.mean, method.label, look.colour, look.ours, area**0.5 / 2, *bars))
    axes.set_xlabel(f"Last (%), {MATRICES[identity][1]}")
    axes.set_ylabel("Transfer (%)")
    axes.margins(0.1)
    title = (
        f"larger: more storage between tasks (none to {size(most)})" if most > 1 else "nothing is stored between tasks"
    )
    if len(group.first.tasks) == 1:
        title = "one task: there is no Transfer"
    axes.set_title(style.wrap(title, (0.4 * width if width > style.PAGE else width) - 0.6))
    for row, key in enumerate(BARS):
        _bars(bottom.add_subplot(1, len(BARS), row + 1), group, found[key], named=row == 0)
    write_names(drawing, axes, marks)
    return drawing


def in_report(group: Group) -> Iterator[Captioned]:
    """Yields the one figure of a group for the report: Transfer against Last, and bars of Transfer, Avg and Last, in
    percent.

    It yields none if no method ran in every order.

    Args:
        group: the runs.
    """
    missing = gaps(group)
    if is_empty(group, missing):
        return
    yield Captioned(
        figure(group),
        caption(group),
        f"Transfer and Last in percent: {each(group, _transfer_and_last)}.",
        drawn(group, missing),
    )


def caption(group: Group) -> str:
    """Returns the caption of the figure: what it shows, of which runs, and of which it has nothing.

    Args:
        group: the runs.
    """
    orders = len(group.orders)
    bars = (
        f"Values are means over {orders} orders, each the mean over its seeds; error bars: one standard deviation over these "
        "orders to each side."
        if orders > 1
        else f"Values are means over runs. {spread(group, 'Error bars')}"
    )
    words = (
        f"Transfer against Last in percent ({MATRICES[group.accuracy_identity][1]}), with marks that are larger the more "
        f"a method stores between tasks; and bars of Transfer, Avg and Last. {bars}"
    )
    return captioned(group, words, gaps(group))


def gaps(group: Group) -> list[Gap]:
    """Returns the methods without a mark: not run in every order, so that they have no bars either, or without Transfer.

    With one task there is no Transfer, and the figure says so.

    Args:
        group: the runs.
    """
    orders = list(group.orders)
    transfer = metric_columns.metric(group.accuracy_identity, "transfer")
    found = []
    for method in group.methods:
        if not all(method.in_order(tasks) for tasks in orders):
            found.append(Gap(method, "not run in every order"))
        elif len(group.first.tasks) > 1 and over_orders(method, orders, transfer.of) is None:
            found.append(Gap(method, "no Transfer, so no mark", whole=False))
    return found


def _transfer_and_last(run: Run) -> tuple[float, float] | None:
    metrics = run.metrics[run.protocol.accuracy_identity]
    return None if run.learns_at_once or metrics["transfer"] is None else (metrics["transfer"], metrics["last"])


def _dot(axes: Axes, across: Spread, up: Spread, look: style.Look, area: float) -> None:
    axes.errorbar(across.mean, up.mean, xerr=across.deviation, yerr=up.deviation, color=look.colour, linewidth=0.6)
    face = look.colour if look.dash == "-" else "white"
    axes.scatter(across.mean, up.mean, area, marker=look.marker, facecolor=face, edgecolor=look.colour, alpha=0.75)


def _bars(axes: Axes, group: Group, metric: metric_columns.Metric, named: bool) -> None:
    """Draws a bar for each method, starting at zero, the first method on top."""
    reasons = {gap.method: f" {gap.why}" for gap in gaps(group) if gap.whole} if named else {}
    spreads = [over_orders(method, list(group.orders), metric.of) for method in group.methods]
    for place, (found, look) in enumerate(zip(spreads, style.looks(group.methods), strict=True)):
        if found is not None:
            hatch = None if look.dash == "-" else "////"
            axes.barh(
                place, found.mean, 0.7, color=look.colour, alpha=0.75, hatch=hatch, edgecolor="white", linewidth=0
            )
            if found.deviation is not None:
                axes.errorbar(found.mean, place, xerr=found.deviation, color=BLACK, linewidth=0.8, capsize=1.5)
        else:
            axes.text(
                0, place, f" {MISSING}{reasons.get(group.methods[place], '')}", va="center"
            )  # an empty place would read as zero
    axes.set_yticks(
        range(len(spreads)), [style.cut(method.label, LONGEST) for method in group.methods] if named else []
    )
    axes.set_ylim(len(spreads) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{metric.heading} (%)")


main = for_group(figure, "compare", caption, gaps)

if __name__ == "__main__":
    main()
