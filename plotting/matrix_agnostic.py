"""The task-agnostic accuracy matrix as a heat map."""

from matplotlib.figure import Figure

from benchmarks.runs.read import Run
from plotting.matrix import heat_map


def of_run(run: Run) -> Figure:
    """Returns the heat map of a run's task-agnostic accuracies: arg-max over the classes of all tasks."""
    return heat_map(run.frame("unknown"), "accuracy on each task (%), task unknown")
