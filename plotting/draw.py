"""Draw every plot of a run into the folder's `plots/`."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.comparison.groups import alone
from benchmarks.runs.read import Run, read
from plotting import curves, matrix, null, rank, style


PLOTS: dict[str, Callable[[Run], Figure]] = {
    "matrix": matrix.figure,
    "matrix_agnostic": matrix.figure_agnostic,
    "curves": lambda run: curves.figure(alone(run)),
    "rank": lambda run: rank.figure(alone(run)),
    "null": null.figure,
}


def draw_all(folder: Path) -> list[Path]:
    """Write `plots/<plot>.png` and `.svg` of a run folder, and say which files these are.

    Raises:
        UserError: the folder is no run folder, one of its files is broken, or a plot cannot be written.
    """
    run = read(folder)
    style.say_missing_letters(run.tasks)
    target = folder / "plots"
    written = []
    for name, figure in PLOTS.items():
        drawing = figure(run)
        for suffix in ("png", "svg"):
            path = target / f"{name}.{suffix}"
            style.save(drawing, path)
            written.append(path)
    return written


def draw_missing(folder: Path) -> None:
    """Draws the plots of a run folder unless all are there. Raises UserError, as `draw_all`."""
    files = (folder / "plots" / f"{name}.{suffix}" for name in PLOTS for suffix in ("png", "svg"))
    if not all(file.is_file() for file in files):
        draw_all(folder)
