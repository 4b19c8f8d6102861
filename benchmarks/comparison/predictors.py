"""Which measurements, taken after a task, go with what that task did to the others: rank correlations over runs.

With A[t, j] the accuracy on task j after t tasks (percent, of the matrix that the protocol reports), task t has caused

    forgetting(t)     = mean over j < t of A[t-1, j] - A[t, j]      from the second task on
    transfer loss(t)  = mean over j > t of A[t-1, j] - A[t, j]      up to the last but one

and a measurement's value after task t is the mean over the rows of its table that have this `after`. The correlation is
Spearman's over all such pairs of all runs, and, `within methods`, over the pairs less their method's mean, which is left
when methods do not differ. Its 95 % interval is that of 500 draws of as many runs with replacement (bootstrap): the tasks of
a run are not independent of each other, so runs are drawn, not pairs.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.comparison.groups import Group
from benchmarks.comparison.tables import MISSING, Cell, Section, Table
from benchmarks.config.errors import UserError
from benchmarks.runs.read import Run


DRAWS = 500
LEAST = 3  # runs, without which there is no interval
TARGETS = ("forgetting", "transfer loss")
LEFT_OUT = ("cost", "accuracy")  # tables of what a run cost, and of the accuracies themselves


class Correlation(NamedTuple):
    """A rank correlation in -1..1 and its 95 % interval; the ends are None with too few runs."""

    value: float
    low: float | None
    high: float | None


def sections(groups: Sequence[Group]) -> list[Section]:
    """Returns for each group a section with one table for each target: a row for each measured column, strongest first.

    Args:
        groups: the groups.

    Raises:
        UserError: no run of any group has a table of a measurement with values after each task.
    """
    found = [_section(group) for group in groups]
    if not any(section.tables for section in found):
        raise UserError("--predictors: no run has a measurement after each task; see --measure of benchmarks.run")
    return found


def caused(matrix: np.ndarray) -> pd.DataFrame:
    """Returns what each task has caused: a frame with the columns of `TARGETS` in percentage points, index `after` 1..T.

    Args:
        matrix: A (T+1, T) in percent, row 0 before any training; NaN where it was not measured.
    """
    taken = matrix[:-1] - matrix[1:]  # (T, T): of each task by the task of the row
    count = len(taken)
    earlier, later = np.tri(count, k=-1, dtype=bool), np.tri(count, k=-1, dtype=bool).T
    means = [
        np.where(some, taken, 0).sum(axis=1) / np.where(some.any(axis=1), some.sum(axis=1), np.nan)
        for some in (earlier, later)
    ]
    return pd.DataFrame(dict(zip(TARGETS, means, strict=True)), index=pd.RangeIndex(1, count + 1, name="after"))


def measured(run: Run) -> pd.DataFrame:
    """Returns a run's measurements after each task: index `after`, a column `TABLE: COLUMN` for each, means over its rows.

    Args:
        run: the run.
    """
    frames = []
    for name, about in run.about.get("tables", {}).items():
        numbers = [
            each["name"] for each in about["columns"] if each["kind"] != "text" and each["name"] not in about["keys"]
        ]
        numbers = [each for each in numbers if not each.endswith("...")]
        if "after" not in about["keys"] or name in LEFT_OUT or not numbers:
            continue
        frame = run.table(name)
        frame = frame[["after", *(each for each in numbers if each in frame)]].groupby("after").mean()
        frames.append(frame.rename(columns=lambda column, table=name: f"{table}: {column}"))
    return pd.concat(frames, axis=1) if frames else pd.DataFrame(index=pd.RangeIndex(0, name="after"))


def pairs(group: Group) -> pd.DataFrame:
    """Returns a row for each task of each run: its `run` (a number) and `method`, what it caused, and what was measured then.

    Args:
        group: the runs.
    """
    rows, number = [], 0
    for method in group.methods:
        for run in method.runs:
            both = caused(run.accuracy[group.accuracy_identity]).join(measured(run), how="left")
            rows.append(both.assign(run=number, method=method.label))
            number += 1
    return pd.concat(rows, ignore_index=True)


def correlation(values: pd.DataFrame, column: str, target: str, *, within: bool) -> Correlation | None:
    """Returns the rank correlation of a measurement with a target; None if either does not vary.

    Args:
        values: as `pairs` returns them.
        column: a measurement, such as `rank: interference`.
        target: one of `TARGETS`.
        within: whether each method's mean is taken from both first.
    """
    known = values[["run", "method", column, target]].dropna()
    if within:
        means = known.groupby("method")[[column, target]].transform("mean")
        known = known.assign(**{name: known[name] - means[name] for name in (column, target)})
    one, other = (known[name].rank().to_numpy() for name in (column, target))
    if len(known) < 2 or one.std() == 0 or other.std() == 0:
        return None
    found = float(np.corrcoef(one, other)[0, 1])
    runs = [np.flatnonzero(known["run"].to_numpy() == each) for each in known["run"].unique()]
    if len(runs) < LEAST:
        return Correlation(found, None, None)
    low, high = np.nanpercentile(list(_drawn(known[column].to_numpy(), known[target].to_numpy(), runs)), (2.5, 97.5))
    return Correlation(found, float(low), float(high))


def _drawn(one: np.ndarray, other: np.ndarray, runs: Sequence[np.ndarray]) -> Iterator[float]:
    """The correlation in each draw of runs."""
    generator = np.random.default_rng(0)
    for _ in range(DRAWS):
        rows = np.concatenate([runs[each] for each in generator.integers(len(runs), size=len(runs))])
        ranks = [pd.Series(values[rows]).rank().to_numpy() for values in (one, other)]
        yield float(np.corrcoef(*ranks)[0, 1]) if all(each.std() > 0 for each in ranks) else float("nan")


def _section(group: Group) -> Section:
    values = pairs(group)
    columns = [name for name in values if ": " in str(name)]
    tables = [_table(values, columns, target) for target in TARGETS] if columns else []
    notes = [] if columns else ["No run of these has a measurement after each task."]
    return Section(group.title, [table for table in tables if table.rows], notes)


def _table(values: pd.DataFrame, columns: Sequence[str], target: str) -> Table:
    rows = []
    for column in columns:
        over, within = (correlation(values, column, target, within=inside) for inside in (False, True))
        known = values[[column, target]].dropna()
        if over is None:
            continue
        runs = values.loc[known.index, "run"].nunique()
        rows.append(
            (abs(over.value), (Cell(column), _cell(over), _cell(within), Cell(str(runs)), Cell(str(len(known)))))
        )
    header = ("measured after the task", "correlation", "within methods", "runs", "tasks")
    few = any(cells[1].value is not None and cells[1].spread is None for _, cells in rows)
    notes = [
        f"Spearman's rank correlation with the {target} that the task caused, and its 95 % interval over runs drawn anew."
    ]
    notes += [f"Fewer than {LEAST} runs have no interval."] if few else []
    return Table(
        f"what goes with {target}", header, [cells for _, cells in sorted(rows, key=lambda row: -row[0])], notes
    )


def _cell(found: Correlation | None) -> Cell:
    if found is None:
        return Cell(MISSING)
    if found.low is None or found.high is None:
        return Cell(f"{found.value:.2f}", value=found.value)
    return Cell(
        f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]", value=found.value, spread=(found.high - found.low) / 2
    )
