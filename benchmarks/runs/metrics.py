"""Transfer, Avg, Last and forgetting from an accuracy matrix.

The matrix is (T, T) in percent: row j is the model after task j, column i the accuracy on task i; cells that were not
measured are NaN. Every function returns one value for each task, (T,), in task order; NaN where it is undefined or
depends on an unmeasured cell. `summarise` returns these with their means.

The formulas are those of ZSCL (Zheng et al., ICCV 2023, "Preventing Zero-Shot Transfer Degradation in Continual
Learning of Vision-Language Models") and, for forgetting, of the NuSA-CL paper. Other codebases average Transfer over
rows or over all cells of the upper triangle, which changes it by up to five points and changes rankings.
"""

import numpy as np


def transfer(accuracy: np.ndarray) -> np.ndarray:
    """Returns Transfer of each task, (T,) in percent: the mean accuracy on the task over the models before it is
    learned.

    The untrained model is not among them, so the first task's is undefined (NaN).

    Args:
        accuracy: (T, T) in percent; row j is the model after task j + 1, column i the accuracy on task i + 1.
    """
    before = [accuracy[:task, task].mean() for task in range(1, len(accuracy))]
    return np.array([np.nan, *before])


def average(accuracy: np.ndarray) -> np.ndarray:
    """Returns Avg of each task, (T,) in percent: the mean accuracy on the task over all trained models.

    These are the models before and after the task is learned, but not the untrained one.

    Args:
        accuracy: (T, T) in percent; row j is the model after task j + 1, column i the accuracy on task i + 1.
    """
    return accuracy.mean(axis=0)


def last(accuracy: np.ndarray) -> np.ndarray:
    """Returns Last of each task, (T,) in percent: the accuracy on the task after the last task.

    Args:
        accuracy: (T, T) in percent; row j is the model after task j + 1, column i the accuracy on task i + 1.
    """
    return accuracy[-1]


def forgetting(accuracy: np.ndarray) -> np.ndarray:
    """Returns the forgetting of each task, (T,) in percentage points: its accuracy when just learned minus that at the
    end.

    The end is the model after the last task, so the last task's is undefined (NaN). It is negative if the accuracy
    rose.

    Args:
        accuracy: (T, T) in percent; row j is the model after task j + 1, column i the accuracy on task i + 1.
    """
    lost = accuracy.diagonal() - accuracy[-1]
    return np.array([*lost[:-1], np.nan])


def class_incremental(seen: np.ndarray, counts: np.ndarray) -> dict:
    """Returns the accuracies over all classes seen so far in percent, as class-incremental papers report them.

    Args:
        seen: (T, T) percent: row j after task j, column i the accuracy on task i (both from 1), by arg-max over the
            classes of tasks 1..j; in row j only columns 1..j are used.
        counts: (T,) test images of each task.

    Returns:
        `steps`: T accuracies, each over all test images of the tasks learned so far, None if a cell is unmeasured.
        `avg`: their mean, or None.
        `last`: the final one, or None (Avg and Last of ZSCL and Continual-CLIP).
    """
    tasks = len(counts)
    steps = [np.average(seen[task, : task + 1], weights=counts[: task + 1]) for task in range(tasks)]
    return {"steps": [_plain(step) for step in steps], "avg": _plain(np.mean(steps)), "last": _plain(steps[-1])}


def summarise(states: np.ndarray) -> dict:
    """Returns the metrics of one accuracy matrix, as in `metrics.json`.

    Args:
        states: (T+1, T) percent; row 0 is the model before any training (zero-shot), row j the model after task j; a
            column is a task.

    Returns:
        `transfer`, `avg`, `last`, `forgetting`, `zero_shot`: each the mean over the tasks for which it is defined, or
        None if it depends on an unmeasured cell; in percent, `forgetting` in percentage points.
        `per_task`: a dict with the same names, each a list of T values or None, in task order. Floats have full
        precision.

    Raises:
        ValueError: the matrix has another shape.
    """
    if states.ndim != 2 or states.shape[1] == 0 or states.shape[0] != states.shape[1] + 1:
        raise ValueError(f"an accuracy matrix of T tasks has shape (T+1, T), not {states.shape}")
    zero_shot, accuracy = states[0], states[1:]
    per_task = {
        "transfer": transfer(accuracy),
        "avg": average(accuracy),
        "last": last(accuracy),
        "forgetting": forgetting(accuracy),
        "zero_shot": zero_shot,
    }
    # Only these two are undefined for a task; any other NaN is an unmeasured cell and makes the mean NaN.
    defined = {"transfer": slice(1, None), "forgetting": slice(None, -1)}
    means = {name: _mean(figures[defined.get(name, slice(None))]) for name, figures in per_task.items()}
    return {**means, "per_task": {name: [_plain(figure) for figure in figures] for name, figures in per_task.items()}}


def _mean(figures: np.ndarray) -> float | None:
    return _plain(figures.mean()) if figures.size else None


def _plain(figure: float) -> float | None:
    return None if np.isnan(figure) else float(figure)
