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
import scipy  # which imports its parts when they are used

from benchmarks.comparison.groups import Group
from benchmarks.comparison.tables import MISSING, Cell, Section, Table
from benchmarks.config.errors import UserError
from benchmarks.runs.read import Run


DRAWS = 500
LEAST = 3  # runs, without which there is no interval
TARGETS = ("forgetting", "transfer loss")
Values = dict[str, np.ndarray]  # of N tasks of runs, (N,) by name
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


def caused(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Returns what each of T tasks has caused, (T,) in percentage points for each of `TARGETS`; NaN where it is undefined.

    Args:
        matrix: A (T+1, T) in percent, row 0 before any training; NaN where it was not measured.
    """
    taken = matrix[:-1] - matrix[1:]  # (T, T): of each task by the task of the row
    earlier = np.tri(len(taken), k=-1, dtype=bool)
    found = {}
    for target, some in zip(TARGETS, (earlier, earlier.T), strict=True):
        count = np.where(some.any(axis=1), some.sum(axis=1), np.nan)
        found[target] = np.where(some, taken, 0).sum(axis=1) / count
    return found


def measured(run: Run) -> dict[str, np.ndarray]:
    """Returns a run's measurements after each of its T tasks, (T,) by `TABLE: COLUMN`: means over the rows of each state.

    Args:
        run: the run.
    """
    found: dict[str, np.ndarray] = {}
    for table, about in run.about.get("tables", {}).items():
        if "after" not in about["keys"] or table in LEFT_OUT or not run.files.has(f"{table}.csv"):
            continue  # a table without rows, as one about pairs of tasks after the first, has no file
        frame = run.table(table)
        for column in about["columns"]:
            name = column["name"]
            if column["kind"] == "text" or name in about["keys"] or name not in frame:
                continue
            means = frame.groupby("after")[name].mean()
            found[f"{table}: {name}"] = np.array([means.get(after, np.nan) for after in range(1, len(run.tasks) + 1)])
    return found


def pairs(group: Group) -> Values:
    """Returns one value for each task of each run, by name: its `run` and `method` as numbers, what it caused (`TARGETS`), and
    what was measured then, NaN where it was not.

    Args:
        group: the runs.
    """
    rows: list[dict[str, np.ndarray]] = []
    for place, method in enumerate(group.methods):
        for run in method.runs:
            both = caused(run.accuracy[group.accuracy_identity]) | measured(run)
            size = len(run.tasks)
            rows.append({**both, "run": np.full(size, float(len(rows))), "method": np.full(size, float(place))})
    missing = [np.full(len(row["run"]), np.nan) for row in rows]
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        name: np.concatenate([row.get(name, gap) for row, gap in zip(rows, missing, strict=True)]) for name in names
    }


def correlation(values: Values, column: str, target: str, *, within: bool) -> Correlation | None:
    """Returns the rank correlation of a measurement with a target; None if either does not vary.

    Args:
        values: as `pairs` returns them; `method` is read with `within` alone.
        column: a measurement, such as `rank: interference`.
        target: one of `TARGETS`.
        within: whether each method's mean is taken from both first.
    """
    known = ~np.isnan(values[column]) & ~np.isnan(values[target])
    one, other, run = (values[name][known] for name in (column, target, "run"))
    if within:
        one, other = (_without_means(each, values["method"][known]) for each in (one, other))
    found = _spearman(one, other)
    if found is None:
        return None
    runs = [np.flatnonzero(run == each) for each in np.unique(run)]
    if len(runs) < LEAST:
        return Correlation(found, None, None)
    low, high = np.percentile(list(_drawn(one, other, runs)), (2.5, 97.5))
    return Correlation(found, float(low), float(high))


def _without_means(values: np.ndarray, of: np.ndarray) -> np.ndarray:
    """The values less the mean of those with the same number in `of`."""
    groups, places = np.unique(of, return_inverse=True)
    each = [values[of == group] for group in groups]
    # The mean of equal values may differ from them in its last digit; what is left would be rounding alone.
    means = np.array([some[0] if np.ptp(some) == 0 else some.mean() for some in each])
    return values - means[places]


def _spearman(one: np.ndarray, other: np.ndarray) -> float | None:
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(scipy.stats.rankdata(one), scipy.stats.rankdata(other))[0, 1])


def _drawn(one: np.ndarray, other: np.ndarray, runs: Sequence[np.ndarray]) -> Iterator[float]:
    """The correlation in each draw of runs in which both vary."""
    generator = np.random.default_rng(0)
    for _ in range(DRAWS):
        rows = np.concatenate([runs[each] for each in generator.integers(len(runs), size=len(runs))])
        found = _spearman(one[rows], other[rows])
        if found is not None:
            yield found


def _section(group: Group) -> Section:
    values = pairs(group)
    columns = [name for name in values if ": " in name]
    tables = [_table(values, columns, target) for target in TARGETS] if columns else []
    notes = [] if columns else ["No run of these has a measurement after each task."]
    return Section(group.title, [table for table in tables if table.rows], notes)


def _table(values: Values, columns: Sequence[str], target: str) -> Table:
    rows = []
    for column in columns:
        over, within = (correlation(values, column, target, within=inside) for inside in (False, True))
        if over is None:
            continue
        known = ~np.isnan(values[column]) & ~np.isnan(values[target])
        runs, tasks = len(np.unique(values["run"][known])), int(known.sum())
        rows.append((abs(over.value), (Cell(column), _cell(over), _cell(within), Cell(str(runs)), Cell(str(tasks)))))
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
