"""What models still know outside the stream: the values of probes over the tasks learned, a panel for each.

`python -m plotting.probes [RESULTS...] -o FILE`
"""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmarks.comparison import probes
from benchmarks.comparison.groups import Group, Method
from benchmarks.runs.read import Run
from plotting import style
from plotting.captioned import Captioned, each, spread
from plotting.captioned import caption as captioned
from plotting.command import for_group
from plotting.gaps import Gap, check, drawn, is_empty, labels, of_runs
from plotting.multiples import MOST, Curve, by_method
from plotting.panels import panels


@style.paper()
def figure(group: Group, width: float = style.PAGE) -> Figure:
    """Returns the figure of each probe's value in percent (y axis) over the number of tasks learned (x axis, 0 to T).

    There is a panel for each metric of each probe, and in it a line for each method, the mean over its runs, with a band of
    one standard deviation. More than six methods have a panel each instead, with all metrics, and all others in grey.

    Args:
        group: the runs, all with the same order.
        width: in inches.

    Raises:
        UserError: the runs learn their tasks in several orders, or none has probes.
    """
    tasks, missing = group.only_order(), gaps(group)
    check(group, missing)
    named = labels(group, missing)
    if len(group.methods) > MOST:
        return _by_method(group, named, width)
    metrics = probes.names(group)
    drawing, found = panels(probes.headings(metrics), named, width)
    for metric, axes in zip(metrics, found, strict=True):
        for method, look, words in zip(group.methods, style.looks(group.methods), named, strict=True):
            style.plot_band(axes, _values(method, metric, len(tasks)), look, words)
        style.over_tasks(axes, len(tasks), ticks=4)
    drawing.supxlabel("tasks learned")
    drawing.supylabel("outside the stream (%)")
    style.legend(drawing)
    return drawing


def _by_method(group: Group, named: Sequence[str], width: float) -> Figure:
    tasks, metrics = group.first.tasks, probes.names(group)

    def curves(method: Method) -> list[Curve]:
        means = [style.mean(_values(method, metric, len(tasks))) for metric in metrics]  # (T+1,) each
        states = range(len(tasks) + 1)
        found = zip(means, probes.headings(metrics), style.DASHES * len(metrics), strict=False)
        return [Curve(states, mean, heading, dash) for mean, heading, dash in found]

    drawing, found = by_method(group, named, curves, width)
    for axes in found:
        style.over_tasks(axes, len(tasks), ticks=4)
    drawing.supxlabel("tasks learned")
    drawing.supylabel("outside the stream (%)")
    return drawing


def _values(method: Method, name: probes.Name, tasks: int) -> np.ndarray:
    """Returns a probe's values (R, T+1) in percent of those of a method's runs that were tested on it."""
    found = [values for run in method.runs if (values := probes.of_run(run).get(name)) is not None]
    return np.array(found).reshape(-1, tasks + 1)


def in_report(group: Group) -> Iterator[Captioned]:
    """Yields one figure for each order of a group for the report: the values of probes over the number of tasks learned.

    It yields none for runs of which none has probes.

    Args:
        group: the runs, with any number of orders.
    """
    for tasks in group.orders:
        part = group.in_order(tasks)
        missing = gaps(part)
        if not is_empty(part, missing):
            first, heading = probes.names(part)[0], probes.headings(probes.names(part))[0]
            alt = f"{heading} after the last task in percent: {each(part, probes.after_last(first))}."
            yield Captioned(figure(part), caption(part), alt, drawn(part, missing))


def caption(group: Group) -> str:
    """Returns the caption of the figure: what it shows, of which runs, and of which it has nothing.

    Args:
        group: the runs, all with the same order.
    """
    what = "What models score outside the stream, zero-shot, in percent over the number of tasks learned."
    bands = "Each method has a panel, with all others in grey; lines are means over its runs."
    if len(group.methods) <= MOST:
        bands = f"Lines are means over runs. {spread(group, 'Bands')}"
    return captioned(group, " ".join([what, *probes.protocols(group), bands]), gaps(group))


def gaps(group: Group) -> list[Gap]:
    """Returns the methods of which some or all runs have no probes to draw.

    Args:
        group: the runs.
    """
    wanted = {name.probe for name in probes.names(group)}
    return of_runs(group, lambda run: _gap(run, wanted))


def _gap(run: Run, wanted: set[str]) -> str:
    lacking = sorted(wanted - {name.probe for name in probes.of_run(run)})
    return f"not tested on {', '.join(lacking)}" if run.probes and lacking else "" if run.probes else "no probes.csv"


main = for_group(figure, "probes", caption, gaps)

if __name__ == "__main__":
    main()
