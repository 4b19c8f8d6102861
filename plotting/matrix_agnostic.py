"""The accuracy matrix with the task unknown, as `matrix` draws it."""

from matplotlib.figure import Figure

from benchmarks.runs.read import Run
from plotting.matrix import heat_map


def of_run(run: Run) -> Figure:
    """The best of all classes of all tasks counts."""
    return heat_map(run.frame("unknown"), "accuracy on each task (%), task unknown")
