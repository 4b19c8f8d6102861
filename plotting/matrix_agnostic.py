"""The task-agnostic accuracy matrix as a heat map."""

from matplotlib.figure import Figure

from benchmarks.runs.read import Run
from plotting.matrix import first, heat_map, title


def of_run(run: Run) -> Figure:
    """Returns the heat map of a run's task-agnostic accuracies in percent: arg-max over the classes of all tasks.

    Row i is the state after i tasks (0: before any training), a column is a task; unmeasured cells are blank. It is
    written to `plots/matrix_agnostic.png` and `.svg` of the run folder.

    Args:
        run: the run.
    """
    return heat_map(run.frame("unknown"), title(run, "unknown"), first=first(run))
