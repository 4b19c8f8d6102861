"""The tables of the whole trade-off: each method's area, and what it has where all have learned equally well."""

from collections.abc import Sequence

import numpy as np

from benchmarks.comparison import differing, frontier, versions
from benchmarks.comparison.frontier import Line
from benchmarks.comparison.groups import Group, named, unnamed
from benchmarks.comparison.metric_columns import metric
from benchmarks.comparison.statistics import interval
from benchmarks.comparison.tables import (
    MISSING,
    Cell,
    Section,
    Table,
    bracketed,
    marked,
    signed,
    unsigned,
)  # fmt: skip
from benchmarks.config.errors import UserError
from benchmarks.runs.read import MATRICES


METRICS = ("transfer", "forgetting", "avg", "last")  # given at equal learning accuracy
STEPS = (1, 2, 5, 10)  # percent between two learning accuracies
COLUMNS = 7


def sections(groups: Sequence[Group], along: Sequence[str], baseline: str | None) -> list[Section]:
    """Returns the tables of the trade-off of some groups, and for a group without one a note that says why.

    Args:
        groups: the groups.
        along: the settings over which a method's line goes.
        baseline: name of a method; None adds no differences.

    Raises:
        UserError: no group has a trade-off, or several lines of one, or none of any, have the baseline's name.
    """
    found, refused, there = [], [], []
    for group in groups:
        try:
            every = frontier.lines(group, along)
            if all(line.why_not for line in every):
                raise UserError(f"--frontier: no line: {every[0].method.label} ({every[0].why_not})")
        except UserError as error:
            refused.append(error)
            found.append(Section(group.title, [], [str(error)]))
        else:
            there += [line.method for line in every]
            found.append(_section(group, every, along, baseline))
    if len(refused) == len(groups):
        raise refused[0]
    if baseline is not None and not any(named([each], baseline) for each in there):
        raise unnamed(there, baseline)
    return found


def _section(group: Group, every: Sequence[Line], along: Sequence[str], baseline: str | None) -> Section:
    """Returns the areas, then Transfer, forgetting, Avg and Last at equal learning accuracy, and the differences."""
    found = [line for line in every if not line.why_not]
    found.sort(key=lambda line: -float(np.nan_to_num(line.areas.mean(), nan=-1.0)))
    at = levels(found)
    tables = [areas(found, along), *(equal(found, key, at) for key in METRICS if at)]
    method = named([line.method for line in found], baseline) if baseline is not None else None
    if method:
        chosen = next(line for line in found if line.method is method)
        others = [line for line in found if line is not chosen]
        tables += [table for key in METRICS if at and (table := differences(others, chosen, key, at)).has_values]
    notes = [f"Protocol: {group.first.protocol.name}", *versions.notes(group), *differing.notes(group)]
    notes += [] if at else ["No two methods reach the same learning accuracy."]
    notes += [f"No line: {line.method.label} ({why})." for line in every if (why := line.why_not)]
    if baseline is not None and method is None:
        notes.append(f"No differences: there is no {baseline} here.")
    if below := [line.method.label for line in found if line.stays_below]:
        notes.append(f"No point learns more than zero-shot, so the area is 0: {', '.join(below)}.")
    if fewer := [line.method.label for line in found if len(line.samples) * len(line.points) < len(line.method.runs)]:
        notes.append(
            f"Only the seeds and orders that all values of a method have count; some have more: {', '.join(fewer)}."
        )
    if not frontier.are_alike(found):
        notes.append(
            "The methods do not all have the same seeds and orders, so none is marked as the best; the differences to a "
            "baseline are between equal ones."
        )
    return Section(f"{group.title}, along {' and '.join(along)}", tables, notes, [line.method.key for line in found])


def levels(lines: Sequence[Line]) -> list[int]:
    """Returns the learning accuracies in percent at which lines are compared: round ones that two of them reach.

    Args:
        lines: the lines; of a single one, those that it reaches.
    """
    reached = [line.reach for line in lines if len(line.front) > 1]
    if not reached:
        return []
    low, high = min(least for least, _ in reached), max(most for _, most in reached)
    found: list[int] = []
    for step in STEPS:
        whole = [each for each in range(0, 101, step) if low <= each <= high]
        found = [each for each in whole if sum(a <= each <= b for a, b in reached) >= min(len(reached), 2)]
        if len(found) <= COLUMNS:
            break
    return found


def areas(lines: Sequence[Line], along: Sequence[str]) -> Table:
    """Returns the table with a row for each line: values of the setting, learning accuracies of its front, runs a point,
    and area with its 95 % confidence interval.

    Args:
        lines: the lines.
        along: the settings over which they go.
    """
    competes = _competing(lines)
    column = marked(
        [bracketed(interval(line.areas.tolist()), unsigned) for line in lines], competes, more_is_better=True
    )
    rows: list[tuple[Cell, ...]] = [
        (Cell(line.method.label), Cell(_values(line, along)), Cell(_reach(line)), Cell(str(len(line.samples))), area)
        for line, area in zip(lines, column, strict=True)
    ]
    notes = [
        "Area: what the line's points cover (a point covers what lies left of it and below it; nothing is interpolated), in "
        "percent of the rectangle from zero-shot's learning accuracy to 100 % and from 0 to zero-shot's Transfer, with its "
        "95 % confidence interval over the runs of a point, its seeds and orders (Student's t).",
        "Learning accuracy: of the points of a line that none of its others beats in both learning accuracy and Transfer.",
    ]
    over = " and ".join(along)
    header = ("method", f"values of {over}", "learning accuracy", "runs a point", "area")
    return Table(f"trade-off along {over}", header, rows, notes)


def equal(lines: Sequence[Line], key: str, at: Sequence[int]) -> Table:
    """Returns the table of a metric at equal learning accuracy, a row for each line and a column for each accuracy.

    Args:
        lines: the lines.
        key: the metric's name in csv files.
        at: learning accuracies in percent.
    """
    found = metric(lines[0].identity, key)
    competes = _competing(lines)
    values = [line.at(at, found.of) for line in lines]  # (accuracies, samples) each
    columns = [
        marked([bracketed(interval(each[row].tolist()), unsigned) for each in values], competes, found.more_is_better)
        for row in range(len(at))
    ]
    notes = [
        f"Interpolated between the two nearest points of the line's front, in each run; {MISSING}: not reached in every run."
    ]
    return _over(
        lines, at, columns, f"{found.heading} at equal learning accuracy, {MATRICES[lines[0].identity][1]}", notes
    )


def differences(lines: Sequence[Line], baseline: Line, key: str, at: Sequence[int]) -> Table:
    """Returns the table of the differences of lines to a baseline in a metric at equal learning accuracy, in points.

    Args:
        lines: the lines.
        baseline: the line that they are compared with.
        key: the metric's name in csv files.
        at: learning accuracies in percent.
    """
    found = metric(baseline.identity, key)

    there = baseline.at(at, found.of)  # (accuracies, samples)
    values = [line.at(at, found.of) for line in lines]
    columns = [
        [
            bracketed(frontier.difference(line, baseline, here[row], there[row]), signed)
            for line, here in zip(lines, values, strict=True)
        ]
        for row in range(len(at))
    ]
    title = f"difference to {baseline.method.label} in {found.heading} at equal learning accuracy"
    notes = [
        "Points; mean over pairs of runs of the same seed and order, with its 95 % confidence interval; a single pair gives "
        "none."
    ]
    return _over(lines, at, columns, title, notes)


def _competing(lines: Sequence[Line]) -> list[bool]:
    """Whether each line is ranked: none where they do not have the same orders and seeds."""
    alike = frontier.are_alike(lines)
    return [alike and line.method.is_ranked for line in lines]


def _over(lines: Sequence[Line], at: Sequence[int], columns: list[list[Cell]], title: str, notes: list[str]) -> Table:
    names = [Cell(line.method.label) for line in lines]
    return Table(title, ("method", *(f"{each} %" for each in at)), list(zip(names, *columns, strict=True)), notes)


def _values(line: Line, along: Sequence[str]) -> str:
    """The values of a line's one setting, such as `0.0001 to 0.01 (5)`; of several their points' number."""
    values = [" ".join(point.values) for point in line.points]
    if len(values) == 1:
        return values[0] if len(along) == 1 and values[0] else MISSING
    return f"{len(values)} points" if len(along) > 1 else f"{values[0]} to {values[-1]} ({len(values)})"


def _reach(line: Line) -> str:
    low, high = line.reach
    return f"{low:.1f}" if low == high else f"{low:.1f} to {high:.1f}"
