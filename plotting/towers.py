"""The frame shared by the plots of the weights: two measures, one above the other, of two towers side by side."""

from matplotlib.figure import Figure
from numpy import ndarray

from benchmarks.runs import TOWERS, Run
from plotting import style


def panels(run: Run) -> tuple[Figure, ndarray]:
    """An empty figure and its axes, (2, 2): measures by towers, over the number of tasks learned."""
    drawing = Figure((style.PAGE, 3.8), layout="constrained")
    grid = drawing.subplots(2, 2, sharex=True)
    for axes in grid.flat:
        style.over_tasks(axes, len(run.tasks), ticks=11)
    for axes, tower in zip(grid[0], TOWERS, strict=True):
        axes.set_title(f"{tower} tower")
    drawing.supxlabel("tasks learned")
    return drawing, grid
