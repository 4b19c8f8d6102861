"""Writes every value of the tables as a row of a csv file, at full precision: `.csv`."""

import csv
import io
from collections.abc import Iterator
from typing import Any

from benchmarks.comparison import metric_columns, probes, published
from benchmarks.comparison.contents import Comparison
from benchmarks.comparison.formats import cell
from benchmarks.comparison.groups import Group, Method, named
from benchmarks.comparison.statistics import Measure, Spread, over_orders, over_seeds, paired, spread
from benchmarks.comparison.tables import PER_TASK, identities


SUFFIXES = (".csv",)
COLUMNS = (
    "stream", "protocol", "model", "pretrained", "weights_sha256", "stream_sha256", "shots", "order", "method",
    "task_identity", "metric", "task", "mean", "standard_deviation", "interval_half_width", "count", "standing", "source",
)  # fmt: skip
COSTS: dict[str, Measure] = {
    "trained_parameters": lambda run: metric_columns.trained(run)[0],
    "carried_bytes": metric_columns.storage,
    "reference_images": metric_columns.auxiliary_images,
    "peak_memory_bytes": metric_columns.memory,
    "training_seconds": metric_columns.training_seconds,
    "evaluation_seconds": metric_columns.evaluation_seconds,
    "effective_rank_before": lambda run: (run.entropy_rank or (None, None))[0],
    "effective_rank_after": lambda run: (run.entropy_rank or (None, None))[1],
}


def write(comparison: Comparison) -> str:
    """Returns the csv text: one row for each method, order and metric, with mean and standard deviation over seeds.

    Columns: `stream`, `protocol`, `model`, `pretrained`, `weights_sha256`, `stream_sha256`, `shots`, `order`, `method`,
    `task_identity` (`known`: task-aware, `unknown`: task-agnostic, `seen`: class-incremental), `metric` (`transfer`, or
    `transfer minus lora` for a difference to the baseline `lora`), `task` (empty for the mean over tasks), `mean`,
    `standard_deviation`, `interval_half_width` (of a difference's 95 % confidence interval) and `count`. Metrics are in
    percent (those of a probe are `PROBE METRIC`, after the last task), `forgetting` and differences in percentage points;
    a cost has its unit in its name or is a number. `count` is the number of runs; where `order` is `all`, the number of
    orders; for a difference, the number of pairs. Published results have `standing` and `source`, and the protocol and
    order of their source. A field that does not apply is empty. A text that a spreadsheet would take for a formula has a
    `'` in front.

    Args:
        comparison: the groups of runs, and whether to add values of each task and differences to a baseline.

    Raises:
        UserError: several methods of a group have the name of the baseline.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for group in comparison.groups:
        config = group.first.config
        about = {name: config.get(name) for name in ("stream", "model", "pretrained", "shots")}
        about |= {"protocol": f"{group.first.protocol.name} [{group.first.protocol.digest[:8]}]"}
        about |= {name: group.about(name) for name in ("weights_sha256", "stream_sha256")}
        baseline = None if comparison.baseline is None else named(group.methods, comparison.baseline)
        for method in group.methods:
            for row in _rows(group, method, comparison.per_task, baseline):
                writer.writerow({k: cell(v) for k, v in ({**about, "method": method.key} | row).items()})
        for row in published.rows(group, per_task=comparison.per_task) if comparison.published else ():
            writer.writerow(
                {k: cell(v) for k, v in ({**about, "weights_sha256": "", "stream_sha256": ""} | row).items()}
            )
    return out.getvalue()


def _rows(group: Group, method: Method, per_task: bool, baseline: Method | None) -> Iterator[dict[str, Any]]:
    orders = list(group.orders)
    for identity in identities(group):
        for metric in metric_columns.headline(identity):
            about = {"task_identity": identity, "metric": metric.key}
            for tasks in orders:
                yield from _row(over_seeds(method, tasks, metric.of), **about, order=group.orders[tasks])
            if len(orders) > 1:
                yield from _row(over_orders(method, orders, metric.of), **about, order="all")
            if baseline is not None and baseline is not method and (pairs := paired(method, baseline, metric.of)):
                yield {
                    "metric": f"{metric.key} minus {baseline.key}", "task_identity": identity, "order": "all",
                    "mean": pairs.mean, "interval_half_width": pairs.half_width, "count": pairs.count,
                }  # fmt: skip
        for key, _ in PER_TASK if per_task and identity != "seen" else ():
            for tasks in orders:
                for task in tasks:
                    found = over_seeds(method, tasks, metric_columns.of_task(identity, key, task))
                    about = {"task_identity": identity, "metric": key, "task": task}
                    yield from _row(found, **about, order=group.orders[tasks])
    for name in probes.names(group):
        for tasks in orders:
            found = spread(
                [value for run in method.in_order(tasks) if (value := probes.after_last(name)(run)) is not None]
            )
            yield from _row(found, metric=name.key, order=group.orders[tasks])
    for key, measure in COSTS.items():
        for tasks in orders:
            yield from _row(over_seeds(method, tasks, measure), metric=key, order=group.orders[tasks])


def _row(found: Spread | None, **about: str) -> Iterator[dict[str, Any]]:
    if found is not None:
        yield {**about, "mean": found.mean, "standard_deviation": found.deviation, "count": found.count}
