"""The tables of a group of runs, independent of a format; the files in `formats` write them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.comparison import differing, metric_columns, probes, versions
from benchmarks.comparison.costs import COSTS, Cost, explained, thousands
from benchmarks.comparison.groups import Group, Method, named
from benchmarks.comparison.metric_columns import Metric
from benchmarks.comparison.statistics import Interval, Spread, over_orders, paired, spread
from benchmarks.runs.read import MATRICES


MISSING = "–"
PER_TASK = (("transfer", "Transfer"), ("avg", "Avg"), ("last", "Last"))


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what is printed.
        mark: `best` or `second` (the best and second best of its column), or empty.
        value: the number behind the text, for ranking and sorting; None if there is none.
        spread: its standard deviation, or half the width of its confidence interval; None if there is none.
    """

    text: str
    mark: str = ""
    value: float | None = None
    spread: float | None = None


@dataclass
class Table:
    """A table whose first column holds names, and all others values. It has no format yet, such as Markdown.

    Attributes:
        title: the title.
        header: the headings of all columns, the first included.
        rows: the cells of each row, one for each heading.
        notes: sentences below the table.
    """

    title: str
    header: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    notes: list[str] = field(default_factory=list)

    @property
    def is_marked(self) -> bool:
        """Whether any cell is marked best or second best."""
        return any(cell.mark for row in self.rows for cell in row)

    @property
    def has_values(self) -> bool:
        """Whether any cell has a value."""
        return any(cell.value is not None for row in self.rows for cell in row)


@dataclass
class Section:
    """All tables of a group of comparable runs, or of the published results for it.

    Attributes:
        title: the title.
        tables: the tables.
        notes: sentences below the title.
        keys: the methods of its rows, as `--baseline` names them.
    """

    title: str
    tables: list[Table]
    notes: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    @property
    def is_marked(self) -> bool:
        """Whether any table has a cell that is marked best or second best."""
        return any(table.is_marked for table in self.tables)


def shown(found: Spread | None) -> Cell:
    """Returns the cell of a mean and standard deviation, such as `49.3 ± 0.4`, both with one decimal.

    For a single run it has no deviation, and without a value it reads `–`.

    Args:
        found: the mean and standard deviation; None without a value.
    """
    if found is None:
        return Cell(MISSING)
    deviation = "" if found.deviation is None else f" ± {found.deviation:.1f}"
    return Cell(f"{unsigned(found.mean)}{deviation}", value=found.mean, spread=found.deviation)


def marked(cells: Sequence[Cell], competes: Sequence[bool], more_is_better: bool) -> list[Cell]:
    """Returns a column's cells with the best and second best marked.

    Cells with equal values to one decimal get equal marks. Nothing is marked if there are not two different values.

    Args:
        cells: the column.
        competes: whether each cell is ranked.
        more_is_better: whether larger values are better.
    """
    printed = [round(cell.value, 1) if cell.value is not None else None for cell in cells]
    ranked = sorted({value for value, may in zip(printed, competes, strict=True) if may and value is not None})
    if more_is_better:
        ranked.reverse()
    marks = dict(zip(ranked, ("best", "second"), strict=False)) if len(ranked) > 1 else {}
    columns = zip(cells, printed, competes, strict=True)
    return [replace(cell, mark=marks.get(value, "") if may else "") for cell, value, may in columns]  # type: ignore[arg-type]


def _by_columns(methods: Sequence[Method], columns: Iterable[list[Cell]]) -> list[tuple[Cell, ...]]:
    return list(zip([Cell(method.label) for method in methods], *columns, strict=True))


def _count(methods: Iterable[Method], orders: Sequence[tuple[str, ...]]) -> str:
    """Returns the sentence that explains ± in a table."""
    if len(orders) > 1:
        return f"Percent; mean and standard deviation over {len(orders)} orders, each the mean over its seeds."
    counts = {len(runs) for method in methods if (runs := method.in_order(orders[0]))}
    if counts == {1}:
        return "Percent; one seed each, so no spread is known."
    seeds = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(max(counts))
    single = "; a method without ± has one seed" if 1 in counts else ""
    return f"Percent; mean and standard deviation over {seeds} seeds{single}."


def accuracy_table(group: Group, orders: Sequence[tuple[str, ...]], identity: str) -> Table:
    """Returns a table in percent with one row for each method and one column for each metric.

    The metrics are Transfer, Avg, Last, forgetting (in percentage points) and learning accuracy, or only Avg and Last
    of the class-incremental accuracies. A cell is mean and standard deviation over the seeds of one order, or over
    several orders. Best and second best of a column are marked, not counting zero-shot and joint training.

    Args:
        group: the runs.
        orders: the orders; each has the names of all tasks in the order of learning.
        identity: `known` (task-aware), `unknown` (task-agnostic) or `seen` (class-incremental).
    """
    methods = [method for method in group.methods if any(method.in_order(tasks) for tasks in orders)]
    competes = [method.is_ranked for method in methods]

    def column(metric: Metric) -> list[Cell]:
        found = [over_orders(method, orders, metric.of) for method in methods]
        return marked([shown(each) for each in found], competes, metric.more_is_better)

    metrics = metric_columns.headline(identity)
    header = ("method", *(metric.heading for metric in metrics))
    rows = _by_columns(methods, (column(metric) for metric in metrics))
    notes = [_count(methods, orders)]
    if not all(competes):
        alone = ", ".join(method.label for method, may in zip(methods, competes, strict=True) if not may)
        notes.append(
            f"Not ranked, since nothing is learned here, all tasks at once, or from another model on: {alone}."
        )
    if partial := [method.label for method in methods if any(run.is_partial for run in method.runs)]:
        notes.append(
            f"{MISSING}: not known where earlier states were not tested on tasks that were added later: {', '.join(partial)}."
        )
    if len(orders) > 1 and (part := [m.label for m in methods if not all(m.in_order(tasks) for tasks in orders)]):
        notes.append(f"{MISSING}: not run in every order: {', '.join(part)}.")
    return Table(MATRICES[identity][1], header, rows, notes)


def per_task_tables(group: Group, tasks: tuple[str, ...]) -> list[Table]:
    """Returns three tables in percent, of Transfer, Avg and Last: one row for each method, one column for each task.

    A last column `mean` is the mean over the tasks. Cells are means over the seeds of one order, and `–` where the
    metric is undefined, as Transfer of the first task is. The accuracies are task-aware, or task-agnostic if the
    protocol reports those.

    Args:
        group: the runs; methods without a run in this order are left out.
        tasks: the order: the names of all tasks in the order of learning, which is that of the columns.
    """
    identity = group.accuracy_identity
    methods = [method for method in group.methods if method.in_order(tasks)]
    competes = [method.is_ranked for method in methods]
    tables = []
    for metric, heading in PER_TASK:
        columns = []
        values = [
            [metric_columns.per_task(run, identity, metric, tasks) for run in method.in_order(tasks)]
            for method in methods
        ]
        mean = metric_columns.metric(identity, metric).of
        means = [[mean(run) for run in method.in_order(tasks)] for method in methods]
        for task in range(len(tasks)):
            columns.append([_mean([run[task] for run in runs]) for runs in values])
        columns.append([_mean(each) for each in means])
        rows = _by_columns(methods, (marked(column, competes, more_is_better=True) for column in columns))
        tables.append(Table(f"{heading} of each task, {MATRICES[identity][1]}", ("method", *tasks, "mean"), rows))
    return tables


def _mean(values: list[float | None]) -> Cell:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return Cell(MISSING)
    return Cell(f"{np.mean(known):.1f}", value=float(np.mean(known)))


def probe_table(group: Group, tasks: tuple[str, ...]) -> Table | None:
    """Returns a table in percent of what models score outside the stream after the last task: one row for each method, one
    column for each metric of each probe. None if no run has probes.

    A cell is mean and standard deviation over the seeds of one order. A note has the values before any training.

    Args:
        group: the runs.
        tasks: the order: the names of all tasks in the order of learning.
    """
    methods = [method for method in group.methods if method.in_order(tasks)]
    named_ = probes.names(replace(group, methods=tuple(methods))) if methods else []
    if not named_:
        return None
    competes = [method.is_ranked for method in methods]

    def column(name: probes.Name) -> list[Cell]:
        values = [[probes.after_last(name)(run) for run in method.in_order(tasks)] for method in methods]
        found = [spread([value for value in each if value is not None]) for each in values]
        return marked([shown(each) for each in found], competes, more_is_better=True)

    headings = probes.headings(named_)
    before = zip(headings, [probes.before_first(group, each) for each in named_], strict=True)
    words = "; ".join(f"{heading} {value:.1f}" for heading, value in before if value is not None)
    notes = [f"Percent. Before any training: {words}." if words else "Percent.", *probes.protocols(group)]
    if without := [method.label for method in methods if not all(run.probes for run in method.in_order(tasks))]:
        notes.append(f"Without some runs that were not tested: {', '.join(without)}.")
    header = ("method", *headings)
    return Table(
        "outside the stream, after the last task",
        header,
        _by_columns(methods, (column(each) for each in named_)),
        notes,
    )


def cost_table(group: Group) -> Table:
    """Returns a table of costs with one row for each method, as means over all its runs.

    The columns are trained parameters (in the first and the last task, if they differ), the most bytes stored between
    tasks, auxiliary images, peak memory, time of all trainings and of all evaluations, and the effective (entropy) rank
    in directions before the first task and after the last. Each cell states its unit, and the notes what each includes.

    Args:
        group: the runs.
    """
    machines = metric_columns.machines(group.runs)
    notes = [
        f"Means over all runs, on {' and '.join(machines)}. {' '.join(map(explained, COSTS))} Effective rank: entropy "
        "rank, mean over the attention's matrices, before the first task and after the last."
    ]
    if later := [method.label for method in group.methods if method.runs[0].is_second_stage]:
        notes.append(f"Without what the model cost from which they start: {', '.join(later)}.")
    if len(machines) > 1:
        notes.append("The runs come from different machines: their times and memory do not compare.")
    header = ("method", *(cost.heading for cost in COSTS), "effective rank")
    return Table("cost", header, [_costs(method) for method in group.methods], notes)


def _costs(method: Method) -> tuple[Cell, ...]:
    if method.runs[0].learns_nothing and method.runs[0].is_second_stage:  # what its training cost is not known
        return Cell(method.label), *[Cell(MISSING)] * (len(COSTS) + 1)
    cells = [_average(method, cost) for cost in COSTS]
    first, last = np.mean([metric_columns.trained(run) for run in method.runs], axis=0)
    if first != last:
        cells[0] = replace(cells[0], text=f"{cells[0].text} → {thousands(last)}")
    ranks = [run.entropy_rank for run in method.runs]
    rank = Cell(MISSING)
    if None not in ranks:
        before, after = np.mean([each for each in ranks if each is not None], axis=0)
        rank = Cell(f"{before:.1f} → {after:.1f}", value=float(after))
    return Cell(method.label), *cells, rank


def _average(method: Method, cost: Cost) -> Cell:
    mean = float(np.mean([cost.of(run) for run in method.runs]))
    return Cell(cost.show(mean), value=mean)


def baseline_table(group: Group, baseline: Method, identity: str) -> Table:
    """Returns a table of the differences of every other method to the baseline, in percentage points.

    There is one row for each method; one column for each metric (Transfer, Avg, Last, forgetting and learning accuracy,
    or only Avg and Last of the class-incremental accuracies); and a last column with the number of pairs of runs with
    the same seed and order. A cell is the mean difference over the pairs with its 95 % confidence interval.

    Args:
        group: the runs.
        baseline: the method to compare with.
        identity: `known` (task-aware), `unknown` (task-agnostic) or `seen` (class-incremental).
    """
    others = [method for method in group.methods if method is not baseline]
    metrics = metric_columns.headline(identity)
    found = [[paired(method, baseline, metric.of) for metric in metrics] for method in others]
    rows = []
    for method, differences in zip(others, found, strict=True):
        pairs = max((each.count for each in differences if each), default=0)
        rows.append(
            (Cell(method.label), *(bracketed(each, signed) for each in differences), Cell(str(pairs), value=pairs))
        )
    notes = [
        "Points; mean of the differences between runs of the same seed and order, with its 95 % confidence interval "
        "(Student's t over the pairs)."
    ]
    if any(each and each.half_width is None for row in found for each in row):
        notes.append("A single pair gives no interval.")
    header = ("method", *(metric.heading for metric in metrics), "pairs")
    return Table(f"difference to {baseline.label}, {MATRICES[identity][1]}", header, rows, notes)


def bracketed(found: Interval | None, show: Callable[[float], str]) -> Cell:
    """Returns the cell of a mean with its confidence interval in brackets; `–` without a mean.

    Args:
        found: the mean; of a single value it has no interval.
        show: turns a number into text.
    """
    if found is None:
        return Cell(MISSING)
    if found.half_width is None:
        return Cell(show(found.mean), value=found.mean)
    low, high = found.mean - found.half_width, found.mean + found.half_width
    return Cell(f"{show(found.mean)} [{show(low)}, {show(high)}]", value=found.mean, spread=found.half_width)


def unsigned(number: float) -> str:
    """Returns a number as text with one decimal; never `-0.0`.

    Args:
        number: the number, for instance a percentage.
    """
    return f"{round(number, 1) + 0.0:.1f}"


def signed(points: float, decimals: int = 1) -> str:
    """Returns a number as text with its sign, such as `+1.3`; never `-0.0`.

    Args:
        points: the number, for instance percentage points.
        decimals: number of digits after the point.
    """
    return f"{round(points, decimals) + 0.0:+.{decimals}f}"


def identities(group: Group) -> list[str]:
    """Returns the accuracy matrices to make tables of, that which the protocol reports first.

    They are `known` (task-aware), `unknown` (task-agnostic), and under a class-incremental protocol also `seen`. One
    that not all runs have is left out.

    Args:
        group: the runs.
    """
    wanted = ("known", "unknown") if group.identity != "seen" else ("seen", "known", "unknown")
    there = [identity for identity in wanted if all(identity in run.accuracy for run in group.runs)]
    return sorted(there, key=lambda identity: identity != group.identity)


def section(group: Group, *, per_task: bool, baseline: str | None) -> Section:
    """Returns all tables of a group: accuracies for each order and, if there are several, over all orders; differences
    to a baseline; and cost.

    Args:
        group: the runs.
        per_task: whether to add tables of Transfer, Avg and Last of each task.
        baseline: name of a method; adds the differences of all others to it, over pairs of runs with the same seed and
            order. None adds none; a name that the group does not have adds a note.

    Raises:
        UserError: several methods have the name of the baseline.
    """
    orders = list(group.orders)
    tables = []
    for tasks in orders:
        made = [accuracy_table(group, [tasks], identity) for identity in identities(group)]
        made += per_task_tables(group, tasks) if per_task else []
        for table in made:
            table.title = f"order {group.orders[tasks]}, {table.title}"
        tables += made
    if len(orders) > 1:
        for identity in identities(group):
            table = accuracy_table(group, orders, identity)
            table.title = f"over the orders {'; '.join(group.orders.values())}, {table.title}"
            tables.append(table)
    notes = [f"Protocol: {group.first.protocol.name}.", *versions.notes(group), *differing.notes(group)]
    for tasks in orders:
        if probed := probe_table(group, tasks):
            tables.append(replace(probed, title=f"order {group.orders[tasks]}, {probed.title}"))
    if baseline is not None and (chosen := named(group.methods, baseline)):
        tables += [baseline_table(group, chosen, identity) for identity in identities(group)]
    elif baseline is not None:
        notes.append(f"No differences: there is no {baseline} here.")
    return Section(group.title, [*tables, cost_table(group)], notes, [method.key for method in group.methods])
