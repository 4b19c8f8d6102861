"""Transfer, Avg, Last and forgetting from an accuracy matrix.

The matrix is (T, T) in percent: row j is the model after training task j, column i the accuracy on task i, NaN a cell
that nobody measured. Every function gives one figure for each task, (T,), in task order, NaN where the figure is
undefined or rests on an unmeasured cell; `summarise` gives these with their means.

The formulas are those of ZSCL (Zheng et al., ICCV 2023, "Preventing Zero-Shot Transfer Degradation in Continual
Learning of Vision-Language Models") and, for forgetting, of the NuSA-CL paper. Other codebases average Transfer over
rows or over all cells of the upper triangle: that moves it by up to five points and changes rankings.
"""

import numpy as np


def transfer(accuracy: np.ndarray) -> np.ndarray:
    """(T, T) -> (T,): mean accuracy on each task over the trained models before its turn; undefined for the first.

    The untrained model counts for none of them: a task's column starts after the first task.
    """
    before = [accuracy[:task, task].mean() for task in range(1, len(accuracy))]
    return np.array([np.nan, *before])


def average(accuracy: np.ndarray) -> np.ndarray:
    """(T, T) -> (T,): mean accuracy on each task over all trained models, before and after its turn."""
    return accuracy.mean(axis=0)


def last(accuracy: np.ndarray) -> np.ndarray:
    """(T, T) -> (T,): accuracy on each task after the whole stream."""
    return accuracy[-1]


def forgetting(accuracy: np.ndarray) -> np.ndarray:
    """(T, T) -> (T,): accuracy right after learning each task minus the final one; undefined for the last task."""
    lost = accuracy.diagonal() - accuracy[-1]
    return np.array([*lost[:-1], np.nan])


def class_incremental(seen: np.ndarray, counts: np.ndarray) -> dict:
    """Accuracy over all classes seen so far, as class-incremental papers report it.

    Args:
        seen: (T, T) percent: row j after task j, arg-max over the classes of tasks 1..j; only columns 1..j are used.
        counts: (T,) test images of each task.

    Returns:
        `steps`: T figures, over all test images of the tasks learned so far, or None where a cell is unmeasured; `avg`:
        their mean; `last`: the final one (ZSCL's and Continual-CLIP's Avg and Last).
    """
    tasks = len(counts)
    steps = [np.average(seen[task, : task + 1], weights=counts[: task + 1]) for task in range(tasks)]
    return {"steps": [_plain(step) for step in steps], "avg": _plain(np.mean(steps)), "last": _plain(steps[-1])}


def summarise(states: np.ndarray) -> dict:
    """Everything that `metrics.json` says about one accuracy matrix.

    Args:
        states: (T+1, T) percent; row 0 is the model before any training (zero-shot), row j the model after task j.

    Returns:
        `transfer`, `avg`, `last`, `forgetting`, `zero_shot`: each the mean over the tasks that have the figure, or None
        where it is undefined or any cell it needs is unmeasured. `per_task`: the same names, each a list of T figures
        or None. Plain floats at full precision.
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
    # Only these two leave a task out by definition; any other NaN is an unmeasured cell and must reach the mean.
    defined = {"transfer": slice(1, None), "forgetting": slice(None, -1)}
    means = {name: _mean(figures[defined.get(name, slice(None))]) for name, figures in per_task.items()}
    return {**means, "per_task": {name: [_plain(figure) for figure in figures] for name, figures in per_task.items()}}


def _mean(figures: np.ndarray) -> float | None:
    return _plain(figures.mean()) if figures.size else None


def _plain(figure: float) -> float | None:
    return None if np.isnan(figure) else float(figure)
