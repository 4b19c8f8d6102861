"""Interference of the updates with the principal space, against the forgetting that they cause.

`python -m plotting.interference [RESULTS...] -o FILE`
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from benchmarks.comparison.groups import Group
from benchmarks.runs.csv_files import ATTENTION
from benchmarks.runs.read import Run
from plotting import style
from plotting.captioned import Captioned, each, spread
from plotting.captioned import caption as captioned
from plotting.command import for_group
from plotting.direct import Mark, height, write_names
from plotting.gaps import Gap, drawn, is_empty, of_runs, sentence


HEIGHT = 3.2  # inches at least


@style.paper()
def figure(group: Group, width: float = style.PAGE) -> Figure:
    """Returns the figure of forgetting (y axis, percentage points) against interference (x axis, 0 to 1).

    Interference is the share of an update's Frobenius norm that lies in the principal directions of the weight before
    the task, which are those of the largest singular values (of the shares in its left and right directions the
    larger), as the mean over the changed attention matrices. Forgetting is the mean drop, during this task, of the
    accuracy on the tasks learned before. There is one mark for each method, the mean over tasks and runs, with one
    standard deviation over runs to each side, and its name beside it. Methods whose later tasks change no weight are named
    above.

    Args:
        group: the runs.
        width: in inches.
    """
    missing = style.wrap(sentence(gaps(group)), width - 0.6)
    tall = height(len(group.methods), width, HEIGHT)
    drawing = Figure((width, tall + 0.13 * missing.count("\n")), layout="constrained")
    axes, marks = drawing.add_subplot(), []
    for method, look in zip(group.methods, style.looks(group.methods), strict=True):
        steps = [of_steps(run) for run in method.runs]
        touched = [float(np.mean(interference)) for interference, _ in steps if len(interference)]
        lost = [float(np.mean(forgotten)) for _, forgotten in steps if len(forgotten)]
        if touched:
            spread = len(touched) > 1
            across, up = (np.std(each, ddof=1) if spread else None for each in (touched, lost))
            line = {**look.line(), "linestyle": "none", "linewidth": 0.6, "markersize": 7 if look.ours else 5}
            axes.errorbar(np.mean(touched), np.mean(lost), xerr=across, yerr=up, **line)
            bars = (float(across or 0), float(up or 0))
            marks.append(
                Mark(float(np.mean(touched)), float(np.mean(lost)), method.label, look.colour, look.ours, 3.0, *bars)
            )
    axes.axhline(0, color=style.GREY, linewidth=0.6)
    axes.set_xlim(-0.03, 1.03)
    axes.margins(y=0.12)
    axes.set_title(missing, color=style.DARK)
    axes.set_ylabel("nothing to forget" if len(group.first.tasks) == 1 else "forgotten in a task (points)")
    axes.set_xlabel(
        style.wrap("interference: share of the update in the principal space (0 leaves it alone)", width - 0.6)
    )
    write_names(drawing, axes, marks)
    return drawing


def gaps(group: Group) -> list[Gap]:
    """Returns the methods of which some or all runs have no mark, since no task from the second on changes a weight.

    Args:
        group: the runs.
    """
    return of_runs(group, _gap)


def _gap(run: Run) -> str:
    if len(run.tasks) == 1:
        return "one task, nothing to forget"
    return "" if len(of_steps(run)[0]) else "fixed after task 1"


def in_report(group: Group) -> Iterator[Captioned]:
    """Yields the one figure of a group for the report: forgetting in percentage points against interference, 0 to 1.

    It yields none if no method has a mark, as for a stream of one task.

    Args:
        group: the runs.
    """
    missing = gaps(group)
    if is_empty(group, missing):
        return
    yield Captioned(
        figure(group), caption(group), f"Interference, mean over tasks: {each(group, _mean)}.", drawn(group, missing)
    )


def caption(group: Group) -> str:
    """Returns the caption of the figure: what it shows, of which runs, and of which it has nothing.

    Args:
        group: the runs.
    """
    words = (
        "What is forgotten in a task, the mean drop of the accuracy on the tasks before it in percentage points, against "
        "interference, the share of the task's update that lies in the principal space of the weights before it. Marks are "
        f"means over tasks and runs. {spread(group, 'Error bars')}"
    )
    return captioned(group, words, gaps(group))


def _mean(run: Run) -> float | None:
    touched, _ = of_steps(run)
    return float(touched.mean()) if len(touched) else None


def of_steps(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Returns the interference and the forgetting of each task, two arrays (n,) in the order of learning.

    The n tasks are those of 2..T that changed an attention matrix; there may be none. Interference, 0 to 1, is the
    share of an update's Frobenius norm that lies in the principal directions of the weight before the task (those of
    the largest singular values), as the mean over the changed attention matrices; of the shares in the left and the
    right directions it is the larger. Forgetting, in percentage points, is the mean drop during this task of the
    accuracy on the tasks learned before; it is negative if the accuracy rises.

    Args:
        run: the run.

    Raises:
        UserError: `rank.csv` is missing or damaged.
    """
    rank = run.rank[run.rank["matrix"].isin(ATTENTION)]
    by_task = rank.groupby("after")["interference"].mean()
    accuracy = run.accuracy[run.protocol.accuracy_identity]
    steps = [(by_task.get(task, np.nan), (accuracy[task - 1] - accuracy[task])[: task - 1].mean())
             for task in range(2, len(run.tasks) + 1)]  # fmt: skip
    found = np.array(steps).reshape(-1, 2)
    found = found[~np.isnan(found).any(axis=1)]
    return found[:, 0], found[:, 1]


main = for_group(figure, "interference", caption, gaps)

if __name__ == "__main__":
    main()
