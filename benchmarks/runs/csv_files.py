"""Reads the csv files of a run folder as arrays and text; unlike pandas it detects files that were cut short."""

import csv
import io

import numpy as np

from benchmarks.config.errors import UserError
from benchmarks.runs.folder import RunFiles


TOWERS = ("image", "text")
ATTENTION = ("q", "k", "v", "o")
NAMES = {"tower": TOWERS, "matrix": (*ATTENTION, "fc", "proj")}
NUMBERS = (
    "after",
    "block",
    "dim",
    "rho",
    "energy_rank",
    "energy_share",
    "effective_rank",
    "null_directions",
    "update_norm",
    "interference_left",
    "interference_right",
    "interference",
)


def accuracies(files: RunFiles, name: str) -> tuple[list[str], np.ndarray]:
    """Returns an accuracy matrix from a csv file: the T task names in learning order, and the matrix (T+1, T) in
    percent.

    Row i is the model after i tasks (0: before any training); the columns are the tasks. Cells that were not measured,
    and rows that the run has not reached yet, are NaN.

    Args:
        files: the run's files.
        name: of the csv file: `accuracy.csv` (task-aware), `accuracy_agnostic.csv` or `accuracy_seen.csv`
            (class-incremental).

    Raises:
        UserError: the file is missing or damaged.
    """
    header, rows = table_of(files, name, required=("after",))
    path = files.at(name)
    # By position, since a task may have any name, even "after".
    tasks = header[1:]
    if not tasks:
        raise UserError(f"{path}: no task, only the column after")
    numbers = numbers_of(rows, files, name, len(header))
    after, states = numbers[:, 0], np.full((len(tasks) + 1, len(tasks)), np.nan)
    if len(set(after)) < len(after) or not set(after) <= set(range(len(states))):
        raise UserError(f"{path}: the first column must hold each of 0 to {len(tasks)} at most once")
    states[after.astype(int)] = numbers[:, 1:]
    if ((states < 0) | (states > 100)).any():  # false for NaN
        raise UserError(f"{path}: accuracies lie between 0 and 100")
    return tasks, states


def entropy_rank(files: RunFiles, tasks: int) -> tuple[float, float] | None:
    """Returns the entropy rank before any training and after the last task, in directions, from `rank.csv`.

    The entropy rank of a matrix is exp of the entropy of its singular values scaled to sum 1. Both values are means
    over all attention matrices of both towers. The result is None if the table has no attention matrix, or the run was
    packed without it.

    Args:
        files: the run's files.
        tasks: the number of tasks.

    Raises:
        UserError: `rank.csv` is missing, damaged or cut short.
    """
    try:
        text = files.text("rank.csv")
        header, *lines = text.splitlines()
        names = header.split(",")
        matrix, rank = names.index("matrix"), names.index("effective_rank")
        ends: dict[str, list[float]] = {"0": [], str(tasks): []}
        for line in lines:
            if (after := line.partition(",")[0]) in ends:
                fields = line.split(",")
                if fields[matrix] in ATTENTION:
                    ends[after].append(float(fields[rank]))
    except (UserError, ValueError, IndexError) as error:
        if files.lacks("rank.csv"):
            return None
        raise UserError(f"{files.at('rank.csv')}: missing or damaged") from error
    first, last = ends.values()
    if not text.endswith("\n") or len(first) != len(last):
        raise UserError(f"{files.at('rank.csv')}: cut short")
    return (float(np.mean(first)), float(np.mean(last))) if first else None


def table_of(files: RunFiles, name: str, required: tuple[str, ...]) -> tuple[list[str], list[list[str]]]:
    """Returns the column names in the header of a csv file, and the fields of each row as text.

    Args:
        files: the run's files.
        name: of the csv file, for instance `rank.csv`.
        required: names of columns that it must have.

    Raises:
        UserError: the file is missing, damaged, cut short, or lacks a column.
    """
    path = files.at(name)
    try:
        text = files.text(name)
        lines = list(csv.reader(io.StringIO(text)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a csv file: {error}") from error
    if not lines:
        raise UserError(f"{path}: empty; expected a header")
    header, *rows = lines
    lacking = [column for column in required if column not in header]
    if lacking:
        raise UserError(f"{path}: no column {', '.join(lacking)}")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise UserError(f"{path}: row {number} has {len(row)} fields, the header {len(header)}; was it cut short?")
    if not text.endswith("\n"):
        raise UserError(f"{path}: cut short: the last line has no end")
    return header, rows


def numbers_of(rows: list[list[str]], files: RunFiles, name: str, columns: int) -> np.ndarray:
    """Returns rows of text as a float array (rows, columns); an empty field is NaN.

    Args:
        rows: the fields of each row.
        files: the run's files, which an error's message names.
        name: of the csv file, which an error's message names.
        columns: number of columns, needed if there are no rows.

    Raises:
        UserError: a field is no number.
    """
    try:
        return np.array([[float(field or "nan") for field in row] for row in rows]).reshape(-1, columns)
    except ValueError as error:
        raise UserError(f"{files.at(name)}: {error}") from error
