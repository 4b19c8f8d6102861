"""The tables of a run folder as pandas frames. This is a separate module since importing pandas is slow."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.config.errors import UserError
from benchmarks.config.terminal import plain
from benchmarks.runs import declared, schema
from benchmarks.runs import predictions as predictions
from benchmarks.runs.csv_files import NAMES, NUMBERS, numbers_of, table_of
from benchmarks.runs.folder import RunFiles


HISTORY = ("task", "step", "loss", "cross_entropy", "added", "lr")
MOST_STEPS = 10**6  # of a task


def accuracy(states: np.ndarray, tasks: Sequence[str]) -> pd.DataFrame:
    """Returns an accuracy matrix as a frame: rows by the number of tasks learned (index `after`, 0 to T), columns the
    tasks.

    Args:
        states: the matrix (T+1, T) in percent.
        tasks: T names in learning order.
    """
    return pd.DataFrame(states, columns=list(tasks), index=pd.RangeIndex(len(states), name="after"))


def rank(files: RunFiles) -> pd.DataFrame:
    """Returns the content of `rank.csv`: one row for each number of tasks learned, tower, block and weight matrix.

    These four are the columns `after` (0 to T), `tower` (`image` or `text`), `block` (from 0) and `matrix` (`q`, `k`,
    `v`, `o`, `fc` or `proj`); `results/README.md` describes the others with their units. A value that was not measured
    is NaN. Of a run that was packed without the file there are no rows.

    Args:
        files: the run's files.

    Raises:
        UserError: the file is missing or damaged.
    """
    if files.lacks("rank.csv"):
        return pd.DataFrame({name: pd.Series(dtype=float if name in NUMBERS else str) for name in (*NAMES, *NUMBERS)})
    if not files.has("rank.csv"):
        raise UserError(f"{files.folder} is not a run folder: it has no rank.csv")
    table = _table(files, "rank")
    for column, allowed in NAMES.items():
        strange = set(table[column]) - set(allowed)
        if strange:
            known = ", ".join(allowed)
            raise UserError(f"{files.at('rank.csv')}: unknown {column} {min(strange)!r}; known are {known}")
    return table.astype(dict.fromkeys(NUMBERS, float))


def spectrum(files: RunFiles) -> pd.DataFrame | None:
    """Returns `spectrum.csv`: one row for each weight matrix before and after the stream; None if there is no such
    file.

    The columns are `after`, `tower`, `block`, `matrix`, and the singular values in falling order in the columns `1`,
    `2`, ...; a matrix with fewer values has NaN at the end.

    Args:
        files: the run's files.

    Raises:
        UserError: the file is damaged.
    """
    if not files.has("spectrum.csv"):
        return None
    table = _table(files, "spectrum")
    return table.astype({name: float for name in table if name in ("after", "block") or name.isdecimal()})


def history(files: RunFiles, tasks: int) -> pd.DataFrame:
    """Returns the table `history.csv`: a row for every tenth training step of each task, and for its last.

    The columns are `task` and `step` (both from 1), `loss`, `cross_entropy` and `added` in nats, and `lr`.

    Args:
        files: the run's files.
        tasks: the number of tasks.

    Raises:
        UserError: the run has no such table, or it is damaged: a number is missing or not finite, or task and step do
            not rise from row to row.
    """
    table, file = measured(files, "history"), files.at("history.csv")
    before = (0, 0)
    for number, row in enumerate(table[[*HISTORY]].to_numpy().tolist(), start=2):
        values = dict(zip(HISTORY, row, strict=True))
        if wrong := [
            name for name, value in values.items() if not (isinstance(value, int | float) and math.isfinite(value))
        ]:
            raise UserError(f"{file}: row {number}: {wrong[0]} is no finite number")
        task, step = values["task"], values["step"]
        if task != int(task) or step != int(step) or not 1 <= task <= tasks or not 1 <= step <= MOST_STEPS:
            raise UserError(
                f"{file}: row {number}: expected a task of 1 to {tasks} and a step from 1, got {task} and {step}"
            )
        if (task, step) <= before:
            raise UserError(f"{file}: row {number}: task and step must rise from row to row")
        before = (task, step)
    return table


def probes(files: RunFiles, tasks: int) -> dict[tuple[str, str], np.ndarray]:
    """Returns the values of `probes.csv`: by the probe's name and the metric's, (T+1,) percent after 0 to T tasks; NaN where
    it was not tested.

    Args:
        files: the run's files.
        tasks: the number T of tasks.

    Raises:
        UserError: the run has no such table, or it is damaged: a state or a value is out of range, or stands twice.
    """
    table, file = measured(files, "probes"), files.at("probes.csv")
    found: dict[tuple[str, str], np.ndarray] = {}
    for number, row in enumerate(table.to_dict("records"), start=2):
        after, value = row["after"], row["value"]
        if not (after in range(tasks + 1) and 0 <= value <= 100):  # false for NaN
            raise UserError(f"{file}: row {number}: expected a state of 0 to {tasks} and a value of 0 to 100")
        values = found.setdefault((plain(str(row["probe"])), plain(str(row["metric"]))), np.full(tasks + 1, np.nan))
        if not np.isnan(values[int(after)]):
            raise UserError(f"{file}: row {number}: stands twice")
        values[int(after)] = value
    return found


def measured(files: RunFiles, name: str) -> pd.DataFrame:
    """Returns a table that a measurement filled, such as `rank.csv`, as a frame with the columns of the file.

    A column is of numbers if a measurement describes it so, or if none describes it and all its fields are numbers. If
    this version knows a column that the older folder lacks, the frame has it, with its default value in every row.

    Args:
        files: the run's files.
        name: the table's name without suffix, such as `rank`.

    Raises:
        UserError: the run has no such table, or it is damaged.
    """
    file = f"{name}.csv"
    if not files.has(file):
        raise UserError(f"{files.at(file)}: no such table; a measurement of that name was not taken in this run")
    return _table(files, name)


def _table(files: RunFiles, name: str) -> pd.DataFrame:
    """Returns the columns of the file, then those that are newer than the folder."""
    written = declared.written(files, name)
    known = {each.name: each for each in (*written, *declared.tables().get(name, ()))}
    # A folder that declares its columns is asked for none of others': who knows which measurements it was made without.
    wanted = () if written else declared.required(declared.tables(own=True).get(name, ()), schema.version(files))
    header, rows = table_of(files, f"{name}.csv", wanted)
    table: dict[str, Any] = {}
    for place, column in enumerate(header):
        fields = [row[place] for row in rows]
        kind = known[column].kind if column in known else None
        if kind in ("integer", "number"):
            values = numbers_of([[field] for field in fields], files, f"{name}.csv", 1)[:, 0]
            whole = kind == "integer" and (np.abs(values) < 2**53).all()  # false for NaN
            table[column] = values.astype(int) if whole else values
        else:
            table[column] = fields if kind == "text" else _typed(fields)
    for column, about in known.items():
        if column not in table and not column.endswith(declared.MANY):
            table[column] = [np.nan if about.default is None else about.default] * len(rows)
    return pd.DataFrame(table)


def _typed(fields: list[str]) -> list[Any]:
    """Returns a column's fields as numbers, empty ones as NaN; or all as text if one is no number."""
    try:
        numbers = [float(field or "nan") for field in fields]
    except ValueError:
        return fields
    return [int(number) for number in numbers] if all(field.lstrip("-").isdecimal() for field in fields) else numbers
