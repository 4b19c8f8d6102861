"""Read one run folder; `results/README.md` describes its files and columns."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.errors import UserError


TOWERS = ("image", "text")
MATRICES = ("q", "k", "v", "o", "fc", "proj")
NAMES = {"tower": TOWERS, "matrix": MATRICES}
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


@dataclass(frozen=True)
class Run:
    """What the plots draw.

    Attributes:
        accuracy: (T+1, T) percent, the task known; index `after` 0..T, columns the tasks in order; NaN is unmeasured.
        agnostic: the same with the task unknown.
        rank: one row for each state, tower, block and matrix; the columns of `rank.csv`.
    """

    accuracy: pd.DataFrame
    agnostic: pd.DataFrame
    rank: pd.DataFrame

    @property
    def tasks(self) -> list[str]:
        """The T names in the order in which they are learned."""
        return list(self.accuracy.columns)


def read(folder: Path) -> Run:
    """The run in a folder.

    Raises:
        UserError: it is no run folder, or one of its files is broken.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name a run folder, results/STREAM/STRATEGY/RUN")
    files = [folder / name for name in ("accuracy.csv", "accuracy_agnostic.csv", "rank.csv")]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise UserError(f"{folder} is not a run folder: it has no {', '.join(missing)}")
    accuracy, agnostic, rank = files
    return Run(_states(accuracy), _states(agnostic), _rank(rank))


def _states(path: Path) -> pd.DataFrame:
    """An accuracy matrix, (T+1, T); states that the run has not reached yet become rows of NaN."""
    table = _numbers(_table(path, required=("after",)), path)
    # By position, for tasks may have any name, "after" too.
    states = table.iloc[:, 1:].set_axis(table.iloc[:, 0].rename("after"))
    expected = range(len(states.columns) + 1)
    if len(expected) == 1:
        raise UserError(f"{path}: no task, only the column after")
    if not states.index.is_unique or not set(states.index) <= set(expected):
        raise UserError(f"{path}: the first column must hold each of 0 to {expected[-1]} at most once")
    return states.reindex(expected)


def _rank(path: Path) -> pd.DataFrame:
    table = _table(path, required=(*NAMES, *NUMBERS))
    for column, allowed in NAMES.items():
        strange = set(table[column]) - set(allowed)
        if strange:
            raise UserError(f"{path}: unknown {column} {min(strange)!r}; known are {', '.join(allowed)}")
    return table.assign(**_numbers(table[list(NUMBERS)], path))


def _table(path: Path, required: tuple[str, ...]) -> pd.DataFrame:
    """The fields as text. pandas would read a file cut short without a word and fill it up with NaN."""
    try:
        text = path.read_text(encoding="utf-8")
        lines = list(csv.reader(io.StringIO(text)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a csv file: {error}") from error
    if not lines:
        raise UserError(f"{path}: empty; expected a header")
    header, *rows = lines
    lacking = [name for name in required if name not in header]
    if lacking:
        raise UserError(f"{path}: no column {', '.join(lacking)}")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise UserError(f"{path}: row {number} has {len(row)} fields, the header {len(header)}; was it cut short?")
    if not text.endswith("\n"):
        raise UserError(f"{path}: cut short: the last line has no end")
    return pd.DataFrame(rows, columns=header)


def _numbers(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    try:
        return table.replace("", np.nan).astype(float)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
