"""What a run has measured so far, and the files in its folder that hold it."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.runs.ledger import Ledger
from benchmarks.runs.metrics import class_incremental, summarise
from benchmarks.runtime import files


Fields = Sequence[float | None]
MATRIX_TABLES = ("accuracy", "accuracy_agnostic", "accuracy_seen")  # names that no measurement's table may have


@dataclass
class RunRecord:
    """All that a run has measured so far, state by state (0: before any training).

    As text, made once, since all of it is written after every state: what grows is writing it, and the metrics.

    Attributes:
        known, unknown, seen: a line for each state: accuracy in percent, a field for each task, empty where unmeasured.
        tables: csv text of each measurements' table, by its name.
        cost: the ledger.
    """

    known: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    tables: dict[str, str] = field(default_factory=dict)
    cost: Ledger = field(default_factory=Ledger)

    @property
    def states(self) -> int:
        """Number of states measured; tasks learned is one less."""
        return len(self.known)

    def add_accuracies(self, known: Fields, unknown: Fields, seen: Fields) -> None:
        """A state's accuracies in percent, one for each task; with them it counts as measured."""
        self.known.append(_fields(known))
        self.unknown.append(_fields(unknown))
        self.seen.append(_fields(seen))

    def add_rows(self, table: str, rows: list[dict[str, Any]], number_format: str | None = None) -> None:
        """Appends rows to a table; the first ones decide its columns."""
        if not rows:
            return
        text = self.tables.get(table, "")
        columns = text.partition("\n")[0].split(",") if text else None
        frame = pd.DataFrame(rows, columns=columns)
        self.tables[table] = text + frame.to_csv(index=False, header=not text, float_format=number_format)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the checkpoint."""
        return {**vars(self), "cost": self.cost.as_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "RunRecord":
        """What `as_json` gave; also what versions before 0.4 wrote, with two tables under names of their own.

        Raises:
            KeyError, TypeError: something else.
        """
        values = dict(values)
        tables = values.pop("tables", None)
        if tables is None:
            tables = {"rank": values.pop("rank"), "spectrum": values.pop("spectrum")}
        if not all(isinstance(text, str) for text in tables.values()):
            raise TypeError("tables as rows, as they were kept before 0.3")
        return cls(**{**values, "tables": tables, "cost": Ledger.from_json(values["cost"])})


def _fields(row: Fields) -> str:
    return ",".join("" if value is None else repr(value) for value in row)


def accuracy_csv(lines: list[str], tasks: list[str]) -> str:
    """Percent; a row for each state, first column `after`, then the tasks in order."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(["after", *tasks])
    text.writelines(f"{after},{line}\n" for after, line in enumerate(lines))
    return text.getvalue()


def _matrix(lines: list[str], tasks: int) -> np.ndarray:
    """(T+1, T) percent, NaN where nothing was measured."""
    matrix = np.full((tasks + 1, tasks), np.nan)
    matrix[: len(lines)] = [[float(figure or "nan") for figure in line.split(",")] for line in lines]
    return matrix


def metrics(record: RunRecord, counts: Sequence[int]) -> dict[str, Any]:
    """`metrics.json`: of the task-known matrix, of the task-unknown one under `agnostic`, and `seen`.

    Args:
        counts: (T,) test images of each task.
    """
    known, unknown, seen = (_matrix(lines, len(counts)) for lines in (record.known, record.unknown, record.seen))
    return {
        **summarise(known),
        "agnostic": summarise(unknown),
        "seen": class_incremental(seen[1:], np.array(counts)),
    }


def save_tables(path: Path, record: RunRecord, tasks: list[str], counts: Sequence[int]) -> None:
    """Writes everything measured so far, each in its file; called after each task with the same rows and more."""
    files.write_text(path / "accuracy.csv", accuracy_csv(record.known, tasks))
    files.write_text(path / "accuracy_agnostic.csv", accuracy_csv(record.unknown, tasks))
    files.write_text(path / "accuracy_seen.csv", accuracy_csv(record.seen, tasks))
    for name, text in record.tables.items():
        files.write_text(path / f"{name}.csv", text)
    files.write_json(path / "metrics.json", metrics(record, counts))
    files.write_json(path / "cost.json", record.cost.as_json())
