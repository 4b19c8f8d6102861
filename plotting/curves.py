"""The accuracy on each task over the stream, one panel for each task, and the means over learned and over future tasks.

`python -m plotting.curves [RESULTS...] -o FILE`
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.comparison.groups import Group, Method, alone
from benchmarks.comparison.metric_columns import learning_accuracy
from benchmarks.runs.read import MATRICES, Run
from plotting import style
from plotting.captioned import Captioned, blanks, each, spread
from plotting.captioned import caption as captioned
from plotting.command import for_group
from plotting.multiples import MOST, Curve, by_method
from plotting.panels import numbered, panels


MEANS = ("mean over tasks learned", "mean over tasks to come")


@style.paper()
def figure(group: Group, width: float = style.PAGE) -> Figure:
    """Returns the figure of the accuracy in percent (y axis) over the number of tasks learned (x axis, 0 to T).

    The first panel is the mean over the tasks learned so far, the second the mean over those to come; then one panel
    follows for each task. Each method has a line, the mean over its seeds; in the first two panels a band shows one
    standard deviation to each side. More than six methods have a panel each instead, with these two means, and all others
    in grey. The accuracies are task-aware, or task-agnostic if the protocol reports those.

    Args:
        group: the runs, all with the same order.
        width: in inches.

    Raises:
        UserError: the runs learn their tasks in several orders.
    """
    tasks = group.only_order()
    if len(group.methods) > MOST:
        return _by_method(group, width)
    drawing, found = panels([*MEANS, *numbered(tasks)], [method.label for method in group.methods], width)
    for place, axes in enumerate(found):
        for method, look in zip(group.methods, style.looks(group.methods), strict=True):
            states = _states(group, method)  # (R, T+1, T)
            if place < len(MEANS):
                style.plot_band(axes, _mean(states, learned=place == 0), look, method.label)
            else:
                _task(axes, states[:, :, place - len(MEANS)], place - len(MEANS) + 1, look)
        style.over_tasks(axes, len(tasks), ticks=4)
    drawing.supxlabel("tasks learned (grey line: the task's own training; thin before it)")
    drawing.supylabel(f"accuracy (%), {MATRICES[group.accuracy_identity][1]}")
    style.legend(drawing)
    return drawing


def _by_method(group: Group, width: float) -> Figure:
    tasks, labels = group.first.tasks, [method.label for method in group.methods]

    def curves(method: Method) -> list[Curve]:
        means = [_mean(_states(group, method), learned=each).mean(axis=0) for each in (True, False)]  # (T+1,) each
        return [Curve(range(len(tasks) + 1), *each) for each in zip(means, MEANS, ("-", "--"), strict=True)]

    drawing, found = by_method(group, labels, curves, width)
    for axes in found:
        style.over_tasks(axes, len(tasks), ticks=4)
    drawing.supxlabel("tasks learned")
    drawing.supylabel(f"accuracy (%), {MATRICES[group.accuracy_identity][1]}")
    return drawing


def of_run(run: Run) -> Figure:
    """Returns the figure of a single run's accuracy in percent (y axis) over the number of tasks learned (x axis, 0 to
    T).

    There is a panel for the mean over the tasks learned so far, one for the mean over those to come, and one for each
    task. It is written to `plots/curves.png` and `.svg` of the run folder.

    Args:
        run: the run.
    """
    return figure(alone(run))


def in_report(group: Group) -> Iterator[Captioned]:
    """Yields one figure for each order of a group for the report: accuracy in percent over the number of tasks learned.

    Each has a line for each method, and a panel for the mean over the tasks learned so far, one for the mean over those
    to come, and one for each task; of more than six methods a panel for each method.

    Args:
        group: the runs, with any number of orders.
    """
    for tasks in group.orders:
        part = group.in_order(tasks)
        words = each(part, lambda run: learning_accuracy(run, group.accuracy_identity))
        yield Captioned(
            figure(part),
            caption(part),
            f"Learning accuracy in percent, mean over tasks: {words}. The tables above have each task's values.",
        )


def caption(group: Group) -> str:
    """Returns the caption of the figure: what it shows, of which runs.

    Args:
        group: the runs, all with the same order.
    """
    known = MATRICES[group.accuracy_identity][1]
    if len(group.methods) > MOST:
        words = (
            f"Accuracy in percent ({known}) over the number of tasks learned: the mean over the tasks learned so far (solid) "
            "and over those to come (dashed). Each method has a panel, with all others in grey; lines are means over its runs."
        )
        return captioned(group, f"{words} {blanks(group.runs)}".rstrip())
    words = (
        f"Accuracy in percent ({known}) over the number of tasks learned: the mean over the tasks learned so far, the mean "
        "over those to come, then each task by itself, whose line is thin until the task is learned (grey). Lines are means "
        "over runs."
    )
    return captioned(group, f"{words} {spread(group, 'Bands, in the first two panels')} {blanks(group.runs)}".rstrip())


def _states(group: Group, method: Method) -> np.ndarray:
    """Returns accuracies (R, T+1, T); NaN for future tasks of a method that learns all tasks at once, and for all
    but the last state of a model that is only tested.
    """
    states = np.array([run.accuracy[group.accuracy_identity] for run in method.runs])
    if method.runs[0].learns_at_once and method.runs[0].is_second_stage:
        states[:, :-1] = np.nan  # what was tested is the end of another training
    elif method.runs[0].learns_at_once:
        to_come = np.triu(np.ones(states.shape[1:], dtype=bool))
        to_come[0] = False
        states[:, to_come] = np.nan
    return states


def _mean(states: np.ndarray, learned: bool) -> np.ndarray:
    """Returns means (R, T+1) of (R, T+1, T): over the learned tasks, or over the others; NaN if there are none."""
    _, count, tasks = states.shape
    wanted = np.arange(tasks)[None] < np.arange(count)[:, None]  # (T+1, T)
    wanted = wanted if learned else ~wanted
    total = np.where(wanted, states, 0.0).sum(axis=2)
    with np.errstate(invalid="ignore"):
        return total / wanted.sum(axis=1)


def _task(axes: Axes, states: np.ndarray, own: int, look: style.Look) -> None:
    """Draws one task's accuracies (R, T+1) in percent; `own` is the number of tasks learned when it has just been
    learned.
    """
    axes.axvline(own, color=style.GREY, linewidth=0.6)
    mean = states.mean(axis=0)
    axes.plot(range(own + 1), mean[: own + 1], color=look.colour, linestyle=look.dash, linewidth=0.6)
    every = max((len(mean) - own) // 4, 1)
    axes.plot(range(own, len(mean)), mean[own:], markevery=every, markersize=2, **look.line())


main = for_group(figure, "curves", caption)

if __name__ == "__main__":
    main()
