"""What a run has measured so far, and writing it into the run folder."""

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
    """Everything that a run has measured so far: before any training, and after each task learned.

    Values are stored as csv text, since all of it is written to disk again after every task.

    Attributes:
        known, unknown, seen: the rows of the task-aware, task-agnostic and class-incremental accuracy matrix. Row i,
            after i tasks, is a text with the accuracy in percent on each task in learning order, joined by commas;
            empty if unmeasured.
        tables: the csv text of each table that measurements fill, by the table's name, such as `rank`.
        cost: the parameters, storage, times and memory so far.
    """

    known: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    tables: dict[str, str] = field(default_factory=dict)
    cost: Ledger = field(default_factory=Ledger)

    @property
    def states(self) -> int:
        """The number of evaluations so far, which is the number of tasks learned plus one."""
        return len(self.known)

    def add_accuracies(self, known: Fields, unknown: Fields, seen: Fields) -> None:
        """Adds the next row of each accuracy matrix: the accuracies of an evaluation in percent, one for each task in
        learning order; None where unmeasured.

        Args:
            known: task-aware.
            unknown: task-agnostic.
            seen: class-incremental.
        """
        self.known.append(_fields(known))
        self.unknown.append(_fields(unknown))
        self.seen.append(_fields(seen))

    def add_rows(self, table: str, rows: list[dict[str, Any]], number_format: str | None = None) -> None:
        """Appends rows to a table that a measurement fills; the first rows decide its columns.

        Args:
            table: the table's name, such as `rank`.
            rows: one dict for each row, values by column name; none changes nothing.
            number_format: printf format of floats, such as `"%.6g"`; None for full precision.
        """
        if not rows:
            return
        text = self.tables.get(table, "")
        columns = text.partition("\n")[0].split(",") if text else None
        frame = pd.DataFrame(rows, columns=columns)
        self.tables[table] = text + frame.to_csv(index=False, header=not text, float_format=number_format)

    def as_json(self) -> dict[str, Any]:
        """Returns the record as a dict that json can store, for the checkpoint from which a run is resumed.

        The keys are the attributes' names; `cost` holds a dict as in `cost.json`.
        """
        return {**vars(self), "cost": self.cost.as_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "RunRecord":
        """Returns the record that a checkpoint holds, also a checkpoint of an older version if it stored tables as csv
        text.

        Args:
            values: what `as_json` returned.

        Raises:
            KeyError, TypeError: the value is something else.
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
    """Returns the csv text of an accuracy matrix in percent: first column `after` (tasks learned), then one for each
    task.

    Args:
        lines: for each row, its accuracies joined by commas; row i is after i tasks.
        tasks: names in learning order.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(["after", *tasks])
    text.writelines(f"{after},{line}\n" for after, line in enumerate(lines))
    return text.getvalue()


def _matrix(lines: list[str], tasks: int) -> np.ndarray:
    """Returns the matrix (T+1, T) in percent, NaN where nothing was measured."""
    matrix = np.full((tasks + 1, tasks), np.nan)
    matrix[: len(lines)] = [[float(figure or "nan") for figure in line.split(",")] for line in lines]
    return matrix


def metrics(record: RunRecord, counts: Sequence[int]) -> dict[str, Any]:
    """Returns the content of `metrics.json`.

    Args:
        record: what was measured.
        counts: (T,) test images of each task, in learning order.

    Returns:
        `transfer`, `avg`, `last`, `forgetting`, `zero_shot`: means over the tasks of the task-aware accuracies, in
        percent, `forgetting` in percentage points; None where unmeasured.
        `per_task`: the same names, each a list of T values or None.
        `agnostic`: a dict with all of these keys, of the task-agnostic accuracies.
        `seen`: a dict with `steps` (accuracy after each task on all tasks learned so far), `avg` and `last` of the
        class-incremental accuracies, in percent.
    """
    known, unknown, seen = (_matrix(lines, len(counts)) for lines in (record.known, record.unknown, record.seen))
    return {
        **summarise(known),
        "agnostic": summarise(unknown),
        "seen": class_incremental(seen[1:], np.array(counts)),
    }


def save_tables(path: Path, record: RunRecord, tasks: list[str], counts: Sequence[int]) -> None:
    """Writes everything measured so far into the run folder. It is called before any training and after each task.

    The files are the three accuracy matrices `accuracy*.csv`, a csv file for each measured table, `metrics.json` and
    `cost.json`.

    Args:
        path: the run folder.
        record: what was measured.
        tasks: names in learning order.
        counts: (T,) test images of each task.

    Raises:
        UserError: a file cannot be written.
    """
    files.write_text(path / "accuracy.csv", accuracy_csv(record.known, tasks))
    files.write_text(path / "accuracy_agnostic.csv", accuracy_csv(record.unknown, tasks))
    files.write_text(path / "accuracy_seen.csv", accuracy_csv(record.seen, tasks))
    for name, text in record.tables.items():
        files.write_text(path / f"{name}.csv", text)
    files.write_json(path / "metrics.json", metrics(record, counts))
    files.write_json(path / "cost.json", record.cost.as_json())
