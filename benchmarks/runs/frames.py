"""The tables of a run folder as pandas frames, apart, so that a thousand runs are read in seconds without pandas."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.config.errors import UserError
from benchmarks.runs.folder import RunFiles
from benchmarks.runs.tables import NAMES, NUMBERS, numbers_of, table_of


def accuracy(states: np.ndarray, tasks: Sequence[str]) -> pd.DataFrame:
    """An accuracy matrix (T+1, T) with its names: index `after` 0..T, columns the tasks."""
    return pd.DataFrame(states, columns=list(tasks), index=pd.RangeIndex(len(states), name="after"))


def rank(files: RunFiles) -> pd.DataFrame:
    """`rank.csv`: a row for each state, tower, block and matrix.

    Raises:
        UserError: the file is missing or broken.
    """
    if not files.has("rank.csv"):
        raise UserError(f"{files.folder} is not a run folder: it has no rank.csv")
    header, rows = table_of(files, "rank.csv", required=(*NAMES, *NUMBERS))
    table = pd.DataFrame(rows, columns=header)
    for column, allowed in NAMES.items():
        strange = set(table[column]) - set(allowed)
        if strange:
            known = ", ".join(allowed)
            raise UserError(f"{files.at('rank.csv')}: unknown {column} {min(strange)!r}; known are {known}")
    numbers = numbers_of(table[list(NUMBERS)].to_numpy().tolist(), files, "rank.csv", len(NUMBERS))
    return table.assign(**{name: numbers[:, column] for column, name in enumerate(NUMBERS)})


def spectrum(files: RunFiles) -> pd.DataFrame | None:
    """`spectrum.csv`: a row for each matrix before and after the stream; None in a folder that has none.

    Raises:
        UserError: the file is broken.
    """
    if not files.has("spectrum.csv"):
        return None
    header, rows = table_of(files, "spectrum.csv", required=("after", "tower", "block", "matrix"))
    table = pd.DataFrame(rows, columns=header)
    columns = [name for name in header if name not in NAMES]
    numbers = numbers_of(table[columns].to_numpy().tolist(), files, "spectrum.csv", len(columns))
    return table[list(NAMES)].join(pd.DataFrame(numbers, columns=columns))


def measured(files: RunFiles, name: str) -> pd.DataFrame:
    """Any table that a measurement filled, for instance `rank`: numbers where a whole column is numbers.

    Raises:
        UserError: there is no such table, or it is damaged.
    """
    file = f"{name}.csv"
    if not files.has(file):
        raise UserError(f"{files.at(file)}: no such table; a measurement of that name was not taken in this run")
    header, rows = table_of(files, file, required=())
    return pd.DataFrame({column: _typed([row[place] for row in rows]) for place, column in enumerate(header)})


def _typed(fields: list[str]) -> list[Any]:
    """A column's fields as numbers, an empty one as NaN, or all as text where one is no number."""
    try:
        numbers = [float(field or "nan") for field in fields]
    except ValueError:
        return fields
    return [int(number) for number in numbers] if all(field.lstrip("-").isdecimal() for field in fields) else numbers
