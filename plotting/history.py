"""The training loss over the steps of each task, one panel for each task.

`python -m plotting.history [RESULTS...] -o FILE`
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.comparison.groups import Group, Method, alone
from benchmarks.runs.read import Run
from plotting import style
from plotting.captioned import Captioned, each
from plotting.captioned import caption as captioned
from plotting.command import for_group
from plotting.gaps import Gap, check, drawn, is_empty, labels, of_runs
from plotting.multiples import MOST, Curve, by_method
from plotting.panels import numbered, panels


PARTS = {"cross_entropy": ("cross-entropy", "--"), "added": ("added by the method", ":")}


@style.paper()
def figure(group: Group, width: float = style.PAGE) -> Figure:
    """Returns the figure of the cross-entropy of a training batch (y axis, nats) over the steps of each task (x axis).

    Each method has a line, the mean over its runs. The cross-entropy is what all methods minimise; what a method adds to
    its loss is not drawn, since it has another meaning for each. Every tenth step was measured, and the last. More than
    six methods have a panel each instead, over the steps of all tasks, and all others in grey.

    Args:
        group: the runs, all with the same order.
        width: in inches.

    Raises:
        UserError: the runs learn their tasks in several orders, or none has a `history.csv`.
    """
    tasks, missing = group.only_order(), gaps(group)
    check(group, missing)
    named = labels(group, missing)
    if len(group.methods) > MOST:
        return _by_method(group, named, width)
    drawing, found = panels(numbered(tasks), named, width)
    for method, look, words in zip(group.methods, style.looks(group.methods), named, strict=True):
        losses = mean_losses([run for run in method.runs if not _gap(run)], "cross_entropy")
        for number, axes in enumerate(found, start=1):
            line = losses.get(number, pd.Series(dtype=float))
            axes.plot(line.index, line, label=words, markevery=max(len(line) // 4, 1), **look.line())
    drawing.supxlabel("training step")
    drawing.supylabel("cross-entropy of the batch (nats)")
    style.legend(drawing)
    return drawing


def _by_method(group: Group, named: Sequence[str], width: float) -> Figure:
    def curves(method: Method) -> list[Curve]:
        losses = mean_losses([run for run in method.runs if not _gap(run)], "cross_entropy")
        ends = np.cumsum([0, *(line.index.max() for line in losses.values())])[:-1]
        steps = [end + line.index for end, line in zip(ends, losses.values(), strict=True)]
        return [Curve(np.concatenate(steps), np.concatenate(list(losses.values())), "cross-entropy")] if steps else []

    drawing, _ = by_method(group, named, curves, width)
    drawing.supxlabel("training step over all tasks")
    drawing.supylabel("cross-entropy of the batch (nats)")
    return drawing


@style.paper()
def of_run(run: Run) -> Figure:
    """Returns the figure of a single run's training loss (y axis, nats) over the steps of each task (x axis).

    Where the method adds something to the loss, a distillation or a penalty, this and the cross-entropy of the batch
    have lines of their own. It is written to `plots/history.png` and `.svg` of the run folder. Of a run that trained
    nothing, or is of an older version, the panels are empty.

    Args:
        run: the run.
    """
    look = style.looks(alone(run).methods)[0]
    found = run.history
    table = pd.DataFrame(columns=["task", "step", "loss", "cross_entropy", "added"]) if found is None else found
    adds = (table["added"] != 0).any()
    drawing, found = panels(numbered(run.tasks), ["loss"], style.PAGE)
    for number, axes in enumerate(found, start=1):
        rows = table[table["task"] == number]
        axes.plot(rows["step"], rows["loss"], label="loss", color=look.colour, marker=".", markersize=2.5)
        for name, (words, dash) in PARTS.items() if adds else ():
            axes.plot(rows["step"], rows[name], label=words, color=style.DARK, linewidth=0.8, linestyle=dash)
    drawing.supxlabel("training step" if len(table) else f"training step ({_gap(run)})")
    drawing.supylabel("loss (nats)")
    style.legend(drawing)
    return drawing


def in_report(group: Group) -> Iterator[Captioned]:
    """Yields one figure for each order of a group for the report: the cross-entropy over the steps of each task.

    It yields none for runs of which none has a `history.csv`, as in folders of older versions.

    Args:
        group: the runs, with any number of orders.
    """
    for tasks in group.orders:
        part = group.in_order(tasks)
        missing = gaps(part)
        if not is_empty(part, missing):
            alt = f"Cross-entropy at the tasks' last steps, mean over tasks: {each(part, _last)} nats."
            yield Captioned(figure(part), caption(part), alt, drawn(part, missing))


def caption(group: Group) -> str:
    """Returns the caption of the figure: what it shows, of which runs, and of which it has nothing.

    Args:
        group: the runs, all with the same order.
    """
    many = len(group.methods) > MOST
    steps = "all tasks, one after the other" if many else "each task"
    panels = " Each method has a panel, with all others in grey." if many else ""
    words = (
        f"Cross-entropy of the training batches in nats over the steps of {steps}, at every tenth step and the last; what a "
        f"method adds to its loss is not drawn.{panels} Lines are means over runs."
    )
    return captioned(group, words, gaps(group))


def gaps(group: Group) -> list[Gap]:
    """Returns the methods of which some or all runs have no losses to draw.

    Args:
        group: the runs.
    """
    return of_runs(group, _gap)


def _gap(run: Run) -> str:
    if run.history is not None and len(run.history):
        return ""
    return "nothing was trained" if run.learns_nothing else "no history.csv"


def mean_losses(runs: Sequence[Run], name: str) -> dict[int, pd.Series]:
    """Returns a column of `history.csv` over the steps of each task, as the mean over runs, by the task's number from 1.

    Each is a series in nats with the step, from 1, as its index.

    Args:
        runs: the runs, each with a `history.csv`.
        name: the column, such as `cross_entropy`.
    """
    if not runs:
        return {}
    rows = pd.concat([run.history for run in runs])
    means = rows.groupby(["task", "step"])[name].mean()
    return {int(task): line.droplevel("task") for task, line in means.groupby("task")}


def _last(run: Run) -> float | None:
    if _gap(run):
        return None
    return float(np.mean([line.iloc[-1] for line in mean_losses([run], "cross_entropy").values()]))


main = for_group(figure, "history", caption, gaps)

if __name__ == "__main__":
    main()
