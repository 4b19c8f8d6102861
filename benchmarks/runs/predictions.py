"""Reads the predictions for every test image that a run with `--predictions` left, a parquet file for each state."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype, is_integer_dtype

from benchmarks.config.errors import UserError
from benchmarks.runs.folder import RunFiles
from benchmarks.runs.write import PARQUET


BEST = 5  # classes of all tasks
FOLDER = "predictions"


def columns(best: int) -> list[tuple[str, str]]:
    """Returns the names of the columns with classes and with their scores: of the best classes of all tasks, then of the
    best class of the image's own task.

    Args:
        best: how many of all tasks' classes there are.
    """
    return [*((f"best_{rank}", f"score_{rank}") for rank in range(1, best + 1)), ("own_best", "own_score")]


def place(folder: Path, state: int) -> Path:
    """Returns the path of the file of a state, whether it exists or not.

    Args:
        folder: the run folder.
        state: the number of tasks learned.

    Raises:
        UserError: the folder of these files is a link.
    """
    if (folder / FOLDER).is_symlink():
        raise UserError(f"{folder / FOLDER}: a link, through which no predictions are written or read; delete it")
    return folder / FOLDER / f"{state}.parquet"


def read(folder: Path, state: int) -> pd.DataFrame:
    """Returns the predictions in a state: one row for each test image of each task.

    Args:
        folder: the run folder.
        state: the number of tasks learned.

    Raises:
        UserError: there are none of this state, the file is damaged, or pyarrow is not installed.
    """
    file = place(folder, state)
    if not file.is_file():
        raise UserError(f"{file}: no such file; predictions are written by a run with --predictions")
    try:
        return _checked(file, pd.read_parquet(file))
    except ImportError as error:
        raise UserError(f"{file}: needs pyarrow; install {PARQUET}") from error
    except UserError:
        raise
    except Exception as error:  # pyarrow raises many kinds of errors on wrong bytes
        raise UserError(f"{file}: damaged, no parquet file ({' '.join(str(error).split())[:100]})") from error


def _checked(file: Path, table: pd.DataFrame) -> pd.DataFrame:
    best = sum(name.startswith("best_") for name in table.columns)
    classes, scores = zip(*columns(best), strict=True)
    if not best or [*table.columns] != ["task", "image", "label", *chain(*columns(best))]:
        raise UserError(f"{file}: damaged, its columns are {', '.join(map(str, table.columns))[:100]}")
    for name in ("image", "label", *classes):
        if not (is_integer_dtype(table[name]) and (table[name] >= 0).all()):
            raise UserError(f"{file}: damaged, {name} has values that are no indices")
    # A method may rule classes out: the logit of such a class is minus infinity.
    if not all(is_float_dtype(table[name]) and (table[name] < np.inf).all() for name in scores):
        raise UserError(f"{file}: damaged, its scores are not all numbers")
    return table


def class_names(files: RunFiles) -> list[list[str]]:
    """Returns for each task, in learning order, the names of its classes in label order.

    Args:
        files: the run's files.

    Raises:
        UserError: `stream.json` is missing or has no class names.
    """
    found: Any = files.json("stream.json")
    try:
        return [list(map(str, task["class_names"])) for task in found["tasks"]]
    except (KeyError, TypeError) as error:
        raise UserError(f"{files.at('stream.json')}: damaged, its tasks have no class_names") from error


def confusion(predictions: pd.DataFrame, tasks: Sequence[str], names: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Returns in which task's classes the images of each task end: (T, T) in percent of the images of the row's task.

    A row is the task that an image is of, a column the task of the class that is best among those of all tasks. A class
    name that the image's own task has too counts as its own.

    Args:
        predictions: as `read` returns them.
        tasks: the T names in learning order.
        names: for each task the names of its classes.

    Raises:
        UserError: the predictions are of other tasks or classes.
    """
    total = sum(map(len, names))
    if set(predictions["task"]) != set(tasks) or predictions["best_1"].max() >= total:
        raise UserError(f"the predictions are not of the {total} classes of {', '.join(tasks)}; they are damaged")
    owner = np.repeat(np.arange(len(tasks)), [len(each) for each in names])  # (sum of C,)
    flat = [name for each in names for name in each]
    table = np.zeros((len(tasks), len(tasks)))
    for row, task in enumerate(tasks):
        best = predictions.loc[predictions["task"] == task, "best_1"].to_numpy()
        shared = np.array([name in set(names[row]) for name in flat])
        found = np.where(shared[best], row, owner[best])
        table[row] = 100 * np.bincount(found, minlength=len(tasks)) / max(len(best), 1)
    return pd.DataFrame(table, index=pd.Index(tasks, name="task"), columns=pd.Index(tasks, name="predicted"))
