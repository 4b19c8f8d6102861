"""The accuracy matrix as a heat map: one row for each number of tasks learned, one column for each task.

`python -m plotting.matrix RUN -o FILE`; with two runs, the first minus the second.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmarks.comparison.groups import alone
from benchmarks.config.errors import UserError
from benchmarks.config.terminal import Command, say
from benchmarks.runs.folder import find
from benchmarks.runs.read import MATRICES, Run, read
from plotting import style
from plotting.captioned import blanks
from plotting.captioned import caption as captioned
from plotting.command import Target, output, write
from plotting.panels import numbered
from strategies.about import VERMILLION


COLOURS = colormaps["cividis"]
DIFFERENCES = colormaps["PuOr_r"]  # violet for negative, orange for positive, white for zero; colour-blind safe

# Inches. The narrowest cell fits "100" without decimals; a stream too long for the page makes a wider figure.
ROW = 0.19
NARROWEST = 0.19
ROOM_FOR_DECIMALS = 0.3
LEFT = 0.9
FEW = 4  # tasks
# With more cells the numbers are unreadable, and drawing them takes minutes; then only colours are drawn.
MOST_NUMBERS = 1500
FURNITURE = 0.5


def of_run(run: Run) -> Figure:
    """Returns the heat map of a run's task-aware accuracies in percent: arg-max over the task's own classes.

    Row i is the state after i tasks (0: before any training), a column is a task; unmeasured cells are blank. It is
    written to `plots/matrix.png` and `.svg` of the run folder.

    Args:
        run: the run.
    """
    return heat_map(run.frame("known"), title(run, "known"), first=first(run))


def first(run: Run) -> str:
    """Returns what a run's first state is called: `zero-shot`, or `start` where it started from another model.

    Args:
        run: the run.
    """
    return "start" if "start" in run.about else "zero-shot"


def title(run: Run, identity: str) -> str:
    """Returns the text below the heat map of a run: method, seed, stream, quantity and unit.

    Args:
        run: the run.
        identity: `known` (task-aware), `unknown` (task-agnostic) or `seen` (class-incremental).
    """
    config = run.config
    return f"{run.method.name}, seed {config['seed']}, {config['stream']}: accuracy on each task (%), {MATRICES[identity][1]}"


def difference(run: Run, other: Run, identity: str, width: float = style.PAGE) -> Figure:
    """Returns the heat map of the first run's accuracies minus the second's, in percentage points.

    Row i is the state after i tasks, a column is a task.

    Args:
        run, other: two runs with the same tasks in the same order.
        identity: `known` (task-aware), `unknown` (task-agnostic) or `seen` (class-incremental).
        width: in inches.
    """
    names = (f"{run.method.name}, {run.folder.name.replace(',', ', ')}" for run in (run, other))
    title = f"{' minus '.join(names)}: accuracy on each task (points), {MATRICES[identity][1]}"
    return heat_map(run.frame(identity) - other.frame(identity), title, width, differs=True)


@style.paper()
def heat_map(
    states: pd.DataFrame, title: str, width: float = style.PAGE, differs: bool = False, first: str = "zero-shot"
) -> Figure:
    """Returns the heat map of an accuracy matrix (T+1, T) in percent; cells that were not measured are blank.

    Row i is the state after i tasks, from the top; a column is a task, in learning order. The cell of a task right
    after its own training is outlined. The colours range over the values that there are.

    Args:
        states: the matrix, with the tasks as columns; NaN where nothing was measured.
        title: the text on the x axis, with quantity and unit.
        width: in inches; of few tasks a paper's column at most, of many as much as their cells need.
        differs: whether the values are differences in percentage points.
        first: what the first state is called.
    """
    rows, columns = states.shape
    width = max(min(width, style.COLUMN) if columns <= FEW else width, LEFT + NARROWEST * columns)
    cell = (width - LEFT) / columns
    names = numbered(states.columns)
    longest = style.letter() * max(map(len, names))
    title = style.wrap(title, width - LEFT)
    below = 0.13 * title.count("\n")
    upright = longest > cell

    drawing = Figure((width, ROW * rows + FURNITURE + below + (longest if upright else 0)), layout="constrained")
    axes = drawing.add_subplot()
    colours, least, most = (DIFFERENCES, *_symmetric(states)) if differs else (COLOURS, *_range(states))
    image = axes.imshow(states, cmap=colours, vmin=least, vmax=most, aspect="auto")
    axes.set_xticks(range(columns), names, rotation=90 if upright else 0)
    axes.set_yticks(range(rows), [f"0 ({first})", *map(str, range(1, rows))])
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("tasks learned")
    axes.set_xlabel(f"{title}\noutlined: right after its own training")
    if states.size <= MOST_NUMBERS:
        # Cividis goes evenly from dark to light; PuOr is dark at both ends.
        dark = states.abs() > 0.6 * most if differs else states <= (least + most) / 2
        _numbers(axes, states.to_numpy(), 1 if cell >= ROOM_FOR_DECIMALS else 0, dark.to_numpy())
    else:
        drawing.colorbar(image, ax=axes, label="%", fraction=0.02, pad=0.01)
    for task in range(columns):
        own = Rectangle((task - 0.5, task + 0.5), 1, 1, fill=False, edgecolor=VERMILLION, linewidth=1.4, clip_on=False)
        axes.add_patch(own)
    return drawing


def caption(runs: Sequence[Run], identity: str) -> str:
    """Returns the caption of the heat map of a run, or of the difference of two: what it shows, of which runs.

    Args:
        runs: one run, or two of the same tasks in the same order.
        identity: `known` (task-aware), `unknown` (task-agnostic) or `seen` (class-incremental).
    """
    names = " minus that of ".join(f"{run.method.name} (seed {run.config['seed']})" for run in runs)
    unit = "percentage points" if len(runs) > 1 else "percent"
    words = (
        f"Accuracy of {names} on each task (columns, in learning order) after each number of tasks learned (rows; 0: before "
        f"any training), in {unit}, {MATRICES[identity][1]}. Outlined: right after the task's own training."
    )
    return captioned(alone(runs[0]), f"{words} {blanks(runs)}".rstrip())


def _range(states: pd.DataFrame) -> tuple[float, float]:
    known = states.to_numpy()[~np.isnan(states.to_numpy())]
    least, most = (float(known.min()), float(known.max())) if known.size else (0.0, 100.0)
    return (least, most) if most > least else (least - 1, most + 1)


def _symmetric(states: pd.DataFrame) -> tuple[float, float]:
    most = max(map(abs, _range(states)))
    return -most, most


def _numbers(axes: Axes, states: np.ndarray, decimals: int, dark: np.ndarray) -> None:
    for (row, column), percent in np.ndenumerate(states):
        if not np.isnan(percent):
            colour = "white" if dark[row, column] else "black"
            axes.text(column, row, f"{percent:.{decimals}f}", ha="center", va="center", color=colour)


@click.command("python -m plotting.matrix", cls=Command)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN [RUN]")
@output
@click.option(
    "--identity",
    type=click.Choice(list(MATRICES)),
    default="known",
    help="known: task-aware, unknown: task-agnostic, seen: class-incremental",
)
def main(runs: tuple[Path, ...], target: Target, identity: str) -> None:
    """Draw the accuracy matrix of a run folder, or of two run folders the first minus the second.

    The matrix has a row for each number of tasks learned and a column for each task.
    """

    def make() -> tuple[Callable[[float], Figure], str]:
        found = [_only(place, identity) for place in runs]
        if len(found) > 2:
            raise UserError(f"{len(found)} runs; expected one, or two for their difference")
        if len(found) == 1:
            words = title(found[0], identity)
            return lambda width: heat_map(found[0].frame(identity), words, width), caption(found, identity)
        if found[0].tasks != found[1].tasks:
            raise UserError(f"{runs[0]} and {runs[1]}: other tasks, or another order; their difference means nothing")
        return lambda width: difference(found[0], found[1], identity, width), caption(found, identity)

    write(target, make)


def _only(place: Path, identity: str) -> Run:
    """Returns the only run at or below a folder."""
    found = find([place])
    if found.remark:
        say(f"note: {found.remark}")
    folders = found.folders
    if len(folders) > 1:
        raise UserError(f"{place}: {len(folders)} run folders there; name one, for instance {folders[0]}")
    run = read(folders[0])
    if identity not in run.accuracy:
        raise UserError(f"{folders[0]}: no {MATRICES[identity][0]}")
    if not run.is_finished:
        say(f"note: {folders[0]}: {run.about['status']}; of what it has not learned yet nothing is drawn")
    return run


if __name__ == "__main__":
    main()
