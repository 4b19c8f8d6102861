"""What the tables and figures of studies share: means over seeds with their intervals, and tables with a row for each setting.

An interval is the mean's 95 % confidence interval by Student's t over the runs of different seeds. It needs three: of fewer,
tables say so and neither they nor figures have any.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.comparison import frontier_tables
from benchmarks.comparison.collection import Runs
from benchmarks.comparison.frontier import Line, lines
from benchmarks.comparison.frontier_tables import areas, differences, levels
from benchmarks.comparison.groups import Group, shown
from benchmarks.comparison.metric_columns import headline
from benchmarks.comparison.sorting import sort
from benchmarks.comparison.statistics import Interval, Measure, interval
from benchmarks.comparison.tables import MISSING, Cell, Table, bracketed, unsigned
from benchmarks.config.errors import UserError
from benchmarks.runs.csv_files import numbers_of, table_of
from benchmarks.runs.folder import RANK_MEANS
from benchmarks.runs.read import Run


LEAST = 3  # seeds that an interval needs
FEWER = f"Fewer than {LEAST} seeds: no interval."
INTERVALS = "Mean over seeds, with its 95 % confidence interval in brackets (Student's t)."


@dataclass(frozen=True)
class Column:
    """A column of a table of runs.

    Attributes:
        heading: its heading.
        of: returns the value of a run; None where it is undefined.
        show: turns a number into text; one decimal unless another is named.
    """

    heading: str
    of: Measure
    show: Callable[[float], str] = unsigned


def metrics(identity: str = "known") -> list[Column]:
    """Returns the columns of learning accuracy, Transfer, Avg, Last and forgetting.

    Args:
        identity: `known` (task-aware) or `unknown` (task-agnostic).
    """
    found = {each.key: Column(each.heading, each.of) for each in headline(identity)}
    return [found[key] for key in ("right_after", "transfer", "avg", "last", "forgetting")]


def seeds(runs: Iterable[Run]) -> int:
    """Returns the number of different seeds of some runs.

    Args:
        runs: the runs.
    """
    return len({run.config["seed"] for run in runs})


def mean(runs: Sequence[Run], of: Measure) -> Interval | None:
    """Returns the mean over runs of a value, with its interval if they have three seeds; None if a value is undefined.

    Args:
        runs: runs that differ in their seeds alone.
        of: returns the value of a run; None where it is undefined.
    """
    found = interval([of(run) for run in runs])
    return replace(found, half_width=None) if found and seeds(runs) < LEAST else found


def of_points(line: Line, values: np.ndarray) -> list[Interval | None]:
    """Returns the mean of a value at each point of a line, with its interval if the line has three seeds.

    Args:
        line: the line.
        values: (points, samples), as `Line.values` returns them.
    """
    few = seeds(line.method.runs) < LEAST
    found = [interval(row) for row in values.tolist()]
    return [replace(each, half_width=None) if each and few else each for each in found]


def by_setting(title: str, runs: Runs, names: Sequence[str], columns: Sequence[Column]) -> Table:
    """Returns a table with a row for each combination of some settings, in the order of the runs.

    Args:
        title: the table's title.
        runs: the runs.
        names: the settings; each is a column.
        columns: the columns after these.
    """
    rows = [
        (
            *(Cell(MISSING if value is None else shown(value)) for value in values),
            *(bracketed(mean(each, column.of), column.show) for column in columns),
        )
        for values, each in runs.group(*names).items()
    ]
    header = (*(name.replace("_", " ") for name in names), *(column.heading for column in columns))
    return Table(title, header, rows, [INTERVALS])


def without_intervals(table: Table) -> Table:
    """Returns a table of fewer than three seeds, without the intervals in its cells.

    Args:
        table: the table.
    """
    rows = [tuple(replace(cell, text=cell.text.partition(" [")[0], spread=None) for cell in row) for row in table.rows]
    return replace(table, rows=rows, notes=[FEWER if note == INTERVALS else note for note in table.notes])


def group(runs: Runs) -> Group:
    """Returns runs as the group of methods that tables and figures of comparable runs take.

    Args:
        runs: the runs, all comparable.

    Raises:
        UserError: they are not comparable, or a folder of theirs is damaged.
    """
    found = sort([run.folder for run in runs])
    if len(found.groups) != 1 or found.left_out:
        titles = "; ".join([*(each.title for each in found.groups), *found.left_out])
        raise UserError(f"the study's runs cannot be compared with one another: {titles}")
    return found.groups[0]


def front_lines(runs: Runs) -> list[Line]:
    """Returns the methods of comparable runs as lines over their learning rates, in the order of the runs, without those that
    are no line.

    Args:
        runs: the runs.
    """
    place = {run.folder: number for number, run in enumerate(runs)}
    found = [line for line in lines(group(runs), ("lr",)) if not line.why_not]
    return sorted(found, key=lambda line: min(place[run.folder] for run in line.method.runs))


def equal(found: Sequence[Line], baseline: int) -> list[Table]:
    """Returns the tables of lines at equal learning accuracy: their areas, Transfer, forgetting and Last, and the differences
    of these three to one of the lines.

    Args:
        found: the lines; of fewer than two that share a learning accuracy there are only the areas.
        baseline: the place of the line that the others are compared with.
    """
    at, keys = levels(found), ("transfer", "forgetting", "last")
    others = [line for place, line in enumerate(found) if place != baseline]
    tables = [areas(found, ("lr",)), *(frontier_tables.equal(found, key, at) for key in keys if at)]
    return [*tables, *(differences(others, found[baseline], key, at) for key in keys if at and others)]


def place_of(found: Sequence[Line], **settings: Any) -> int:
    """Returns the place of the line whose method has some settings.

    Args:
        found: the lines.
        settings: the settings' values by name.

    Raises:
        UserError: there is none.
    """
    for place, line in enumerate(found):
        if all(line.method.runs[0].config[name] == value for name, value in settings.items()):
            return place
    raise UserError(f"the runs with {', '.join(f'{name}={value}' for name, value in settings.items())} are no line")


def of_rank(name: str, after: int | None = None) -> Measure:
    """Returns the function that maps a run to the mean of a column of `rank.csv` over all matrices; None where it is empty.

    A run that was packed without this table has the means after each task.

    Args:
        name: of the column.
        after: the number of tasks learned; None for the mean over all states in which it was measured.
    """

    def mean_of(run: Run) -> float | None:
        rows = _ranks(run)
        found = float((rows if after is None else rows[rows["after"] == after])[name].mean())
        return None if isnan(found) else found

    return mean_of


def _ranks(run: Run) -> pd.DataFrame:
    if not run.files.has(RANK_MEANS):
        return run.rank
    header, rows = table_of(run.files, RANK_MEANS, ())
    return pd.DataFrame(numbers_of(rows, run.files, RANK_MEANS, len(header)), columns=header)


def interference() -> list[Column]:
    """Returns the columns of the share of an update that lies in the principal directions of its weight, on each side."""
    return [
        Column(f"interference, {side}", of_rank(f"interference_{side}"), "{:.3f}".format) for side in ("left", "right")
    ]
