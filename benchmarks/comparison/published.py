"""Published results next to a group of runs, in separate tables; they are compared only if the protocol is the same."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from benchmarks.comparison import metric_columns
from benchmarks.comparison.groups import Group, Method, shown
from benchmarks.comparison.statistics import Measure, over_seeds
from benchmarks.comparison.tables import MISSING, Cell, Section, Table, signed
from benchmarks.config.recipes import recipe
from strategies.about import Published


HERE = Path(__file__).parent
METRICS = {"Transfer": "transfer", "Avg": "avg", "Last": "last"}
STANDINGS = ("original", "derived", "second-hand")  # in order of preference
MEAN = "mean"


@dataclass(frozen=True)
class Printed:
    """A published value.

    Attributes:
        value: the number as its source prints it, as text; accuracies and what is computed from them in percent,
            anything else in the unit that the metric's name states.
        standing: `original` (the authors' files), `derived` (computed from those) or `second-hand` (transcribed by
            others).
        source: where it is published, such as a paper's arXiv number or a file of a repository.
    """

    value: str
    standing: str
    source: str


@cache
def facts() -> dict[str, Any]:
    """Returns the content of `published.yaml`: with which runs published values are compared.

    Returns:
        `tolerance`: the difference in percentage points that counts as agreement, unless a method's file says
        otherwise.
        `protocols`: by the name of a published protocol, such as `MTIL 5-shot`, a dict with `stream`, `shots` (None for
        all training images) and sometimes `splits`, which the runs must have; `identity` (`known`, `unknown` or
        `seen`), which of their accuracies is compared; and sometimes `differs`, the reason why values are shown but not
        compared, and `instead`, by a published method's name the reason that stands in the place of its file's.
        `not_here`: by the name of a published method that is not implemented here, the reason why it is not compared,
        by the protocol's name or its beginning.
    """
    return yaml.safe_load((HERE / "published.yaml").read_text(encoding="utf-8"))


@cache
def values() -> dict[tuple[str, str, str, str, str], Printed]:
    """Returns the content of `published.csv`, by the tuple of protocol, order, method, metric and task.

    A key is for instance `("MTIL full-shot", "I", "ZSCL", "Avg", "mean")`; the task is a data set's name, or `mean` for
    the mean over all of them. If several sources give a value for the same key, the one nearest to its authors is
    returned: original, derived, second-hand.
    """
    with (HERE / "published.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: STANDINGS.index(row["standing"]))
    found: dict[tuple[str, str, str, str, str], Printed] = {}
    for row in rows:
        key = (row["protocol"], row["order"], row["method"], row["metric"], row["task"])
        found.setdefault(key, Printed(row["value"], row["standing"], row["source"]))
    return found


@dataclass(frozen=True)
class Row:
    """A published method, as a row of a table, and the runs to compare with it.

    Attributes:
        name: the method's name in `published.csv`.
        here: the method of this project with its runs, or None if the group has no runs of it.
        why_not: the reason why the two are shown but not compared; empty if they are compared.
        tolerance: largest difference in percentage points that counts as agreement.
    """

    name: str
    here: Method | None
    why_not: str
    tolerance: float


def _orders(group: Group, protocol: str) -> dict[str, tuple[str, ...]]:
    """Returns the group's task sequences by the published names of orders."""
    published = {order for at, order, *_ in values() if at == protocol}
    found = {}
    for tasks, name in group.orders.items():
        names = name.replace("the ", "").split(", ")
        # The default order is the only published one, or order I of several.
        default = "I" if "I" in published else next(iter(published))
        for order in ("I", "II", *published):
            if order in published and (order in names or ("default" in names and order == default)):
                found[order] = tasks
    return found


def _rows(group: Group, protocol: str, order: str, tasks: tuple[str, ...]) -> list[Row]:
    names = dict.fromkeys(
        method for at, in_order, method, metric, task in values()
        if (at, in_order, task) == (protocol, order, MEAN) and metric in METRICS
    )  # fmt: skip
    rows = []
    for name in names:
        here, departure = _partner(group, name, tasks)
        wanted = here.about.published[name] if here else Published(differs=facts()["not_here"].get(name, {}))
        said = facts()["protocols"][protocol]
        reasons = (said.get("differs"), said.get("instead", {}).get(name) or _differs(wanted, protocol))
        tolerance = facts()["tolerance"] if wanted.tolerance is None else wanted.tolerance
        rows.append(Row(name, here, "; ".join(filter(None, reasons)) or departure, tolerance))
    return rows


def _differs(wanted: Published, protocol: str) -> str:
    if isinstance(wanted.differs, str):
        return wanted.differs
    return "; ".join(reason for start, reason in wanted.differs.items() if protocol.startswith(start))


def _partner(group: Group, name: str, tasks: tuple[str, ...]) -> tuple[Method | None, str]:
    """Returns our method for a published row, and how it departs from it; one without a departure is preferred."""
    candidates = [
        (method, _departure(group, method, method.about.published[name]))
        for method in group.methods
        if name in method.about.published and method.in_order(tasks)
    ]
    return min(candidates, key=lambda candidate: len(candidate[1]), default=(None, ""))


def _departure(group: Group, method: Method, wanted: Published) -> str:
    """Returns the settings that differ from the published ones, as text; empty if none does."""
    found = method.runs[0].config
    usual = recipe(str(found["stream"]), method.strategy, str(found["splits"]))
    expected = {**usual, **wanted.settings, "shots": found.get("shots")}  # the protocol's, which is the group's
    weights = found.get("pretrained")
    if weights is not None and Path(weights).suffix:  # a file with any name may hold the published weights
        expected.pop("pretrained")
    departing = [f"{name} {shown(found.get(name))}, not {shown(value)}" for name, value in expected.items()
                 if found.get(name) != value]  # fmt: skip
    departing += ["starts from another model"] if found.get("start_from") else []
    departing += [f"{name} is not given" for name in wanted.needs if found.get(name) is None]
    return "; ".join(departing)


def _means_table(group: Group, protocol: str, order: str, tasks: tuple[str, ...], rows: list[Row]) -> Table:
    identity = facts()["protocols"][protocol]["identity"]
    header = (
        "published method",
        "standing",
        *METRICS,
        "here",
        *(f"{name} here" for name in METRICS),
        "difference",
        "agreement",
    )
    table = Table(f"{protocol}, order {order}", header, [])
    for row in rows:
        published = [values().get((protocol, order, row.name, metric, MEAN)) for metric in METRICS]
        standing = "/".join(dict.fromkeys(each.standing for each in published if each))
        cells = [Cell(row.name), Cell(standing), *(_printed(each) for each in published)]
        if row.why_not:
            table.notes.append(f"{row.name} is not compared: {row.why_not}.")
        if row.here is None:
            table.rows.append((*cells, *[Cell(MISSING)] * (len(header) - len(cells))))
            continue
        measures = {metric.key: metric.of for metric in metric_columns.headline(identity)}
        here = [_here(row.here, tasks, measures.get(metric)) for metric in METRICS.values()]
        differences = [] if row.why_not else _differences(published, here)
        words = " / ".join(MISSING if each is None else signed(each) for each in differences)
        table.rows.append((*cells, Cell(row.here.label), *(_number(each) for each in here), Cell(words or MISSING),
                           Cell(_agreement(differences, row.tolerance) or "not compared")))  # fmt: skip
    return table


def _per_task_table(protocol: str, order: str, tasks: tuple[str, ...], rows: list[Row], metric: str) -> Table:
    """Returns a table with three lines for each compared method: published, here, difference."""
    identity = facts()["protocols"][protocol]["identity"]
    table = Table(f"{protocol}, order {order}: {metric} of each task", ("", *tasks, MEAN, "agreement"), [])
    for row in rows:
        published = [values().get((protocol, order, row.name, metric, task)) for task in (*tasks, MEAN)]
        if not any(published[:-1]) or row.here is None or row.why_not:
            continue
        measured = [_here(row.here, tasks, metric_columns.of_task(identity, METRICS[metric], task)) for task in tasks]
        measured.append(_here(row.here, tasks, lambda run: run.metrics[identity][METRICS[metric]]))
        differences = _differences(published, measured)
        table.rows += [
            (Cell(f"{row.name}, published"), *(_printed(each) for each in published), Cell("")),
            (Cell(f"{row.here.label}, here"), *(_number(each) for each in measured), Cell("")),
            (Cell("difference"), *(Cell(MISSING if each is None else signed(each), value=each) for each in differences),
             Cell(_agreement(differences, row.tolerance))),
        ]  # fmt: skip
    return table


def _here(method: Method, tasks: tuple[str, ...], measure: Measure | None) -> float | None:
    found = over_seeds(method, tasks, measure) if measure else None
    return found.mean if found else None


def _printed(value: Printed | None) -> Cell:
    return Cell(value.value, value=float(value.value)) if value else Cell(MISSING)


def _number(value: float | None) -> Cell:
    return Cell(MISSING if value is None else f"{value:.1f}", value=value)


def _differences(published: list[Printed | None], here: list[float | None]) -> list[float | None]:
    """Returns measured minus published values; the measured ones are first rounded to as many decimals as the
    published.
    """
    differences: list[float | None] = []
    for theirs, ours in zip(published, here, strict=True):
        if theirs is None or ours is None:
            differences.append(None)
        else:
            decimals = len(theirs.value.partition(".")[2])
            differences.append(round(round(ours, decimals) - float(theirs.value), decimals))
    return differences


def _agreement(differences: list[float | None], tolerance: float) -> str:
    known = [abs(each) for each in differences if each is not None]
    if not known:
        return ""
    within = sum(each <= tolerance + 1e-9 for each in known)
    return f"{within} of {len(known)} within {tolerance} points"


def rows(group: Group, *, per_task: bool) -> Iterator[dict[str, str]]:
    """Yields the published values that stand beside a group's runs, a dict each, with the names of the columns of a csv.

    The keys are `protocol`, `order`, `method`, `task_identity`, `metric`, `task` (empty for the mean over tasks), `mean`
    (as printed), `standing` and `source`.

    Args:
        group: the runs.
        per_task: whether to yield the values of each task, too.
    """
    for protocol in _protocols(group):
        identity = facts()["protocols"][protocol]["identity"]
        for order in _orders(group, protocol):
            for (at, in_order, method, metric, task), printed in values().items():
                if (at, in_order) == (protocol, order) and metric in METRICS and (per_task or task == MEAN):
                    yield {
                        "protocol": protocol, "order": order, "method": method, "task_identity": identity,
                        "metric": METRICS[metric], "task": "" if task == MEAN else task, "mean": printed.value,
                        "standing": printed.standing, "source": printed.source,
                    }  # fmt: skip


def _protocols(group: Group) -> list[str]:
    """Returns the published protocols of the group's stream, splits and number of shots."""
    config = group.first.config
    at = str(config["stream"]), config["splits"], config.get("shots")
    known = facts()["protocols"].items()
    return [name for name, entry in known if (entry["stream"], entry.get("splits", "zscl"), entry["shots"]) == at]


def beside(group: Group, *, per_task: bool) -> Section:
    """Returns tables of published results next to those of a group's runs, in percent.

    For each published protocol with the group's stream, splits and number of shots, and each order, there is one table
    of the means of Transfer, Avg and Last, with one row for each published method. The section has no tables but a note
    if nothing is published.

    Args:
        group: the runs.
        per_task: whether to add tables with the values of each task.
    """
    tables, sources = [], {}
    for protocol in _protocols(group):
        for order, tasks in _orders(group, protocol).items():
            rows = _rows(group, protocol, order, tasks)
            tables.append(_means_table(group, protocol, order, tasks, rows))
            if per_task:
                made = [_per_task_table(protocol, order, tasks, rows, metric) for metric in METRICS]
                tables += [table for table in made if table.rows]
            for row in rows:
                sources[row.name] = next(
                    each.source for key, each in values().items() if key[:3] == (protocol, order, row.name)
                )
    title = f"published values for {group.title}"
    if not tables:
        return Section(title, [], ["None are known for this stream, its splits, number of shots and order."])
    listed = "; ".join(f"{name}: {source}" for name, source in sources.items())
    notes = [
        "As their sources print them, in percent; none was measured here. Second-hand: transcribed by others, not checked "
        f"against the paper. Differences are here minus published. {facts()['tolerance']} point is called agreement (0.3 for "
        "zero-shot): no seeds' spread is published for any of them.",
        f"Sources: {listed}.",
    ]
    return Section(title, tables, notes)
