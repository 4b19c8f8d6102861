"""Every figure of the tables as a row of a csv file, at full precision."""

import csv
import io
from collections.abc import Iterator
from typing import Any

from benchmarks.comparison import measures
from benchmarks.comparison.groups import Group, Method
from benchmarks.comparison.statistics import Measure, Spread, over_orders, over_seeds, paired
from benchmarks.comparison.tables import PER_TASK, identities


COLUMNS = (
    "stream", "protocol", "model", "pretrained", "weights_sha256", "shots", "order", "method", "task_identity", "metric",
    "task", "mean", "standard_deviation", "interval_half_width", "count",
)  # fmt: skip
COSTS: dict[str, Measure] = {
    "trained_parameters": lambda run: measures.trained(run)[0],
    "carried_bytes": measures.carried,
    "reference_images": lambda run: run.cost.get("reference_images", 0),
    "peak_memory_bytes": measures.memory,
    "training_seconds": measures.training_seconds,
    "evaluation_seconds": measures.evaluation_seconds,
    "effective_rank_before": lambda run: (run.entropy_rank or (None, None))[0],
    "effective_rank_after": lambda run: (run.entropy_rank or (None, None))[1],
}


def as_csv(groups: list[Group], *, per_task: bool, baseline: str | None) -> str:
    """`count` is of runs, of orders where `order` is `all`, of pairs where `metric` is a difference."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for group in groups:
        config = group.first.config
        about = {name: config.get(name) for name in ("stream", "model", "pretrained", "shots")}
        about |= {"protocol": f"{group.first.protocol.name} [{group.first.protocol.digest[:8]}]"}
        about |= {"weights_sha256": group.first.about.get("weights_sha256")}
        chosen = None if baseline is None else group.named(baseline)
        for method in group.methods:
            for row in _rows(group, method, per_task, chosen):
                writer.writerow({**about, "method": method.label, **row})
    return out.getvalue()


def _rows(group: Group, method: Method, per_task: bool, baseline: Method | None) -> Iterator[dict[str, Any]]:
    orders = list(group.orders)
    for identity in identities(group):
        for figure in measures.headline(identity):
            about = {"task_identity": identity, "metric": figure.key}
            for tasks in orders:
                yield from _row(over_seeds(method, tasks, figure.of), **about, order=group.orders[tasks])
            if len(orders) > 1:
                yield from _row(over_orders(method, orders, figure.of), **about, order="all")
            if baseline is not None and baseline is not method and (pairs := paired(method, baseline, figure.of)):
                difference = {
                    "metric": f"{figure.key} minus {baseline.label}",
                    "task_identity": identity,
                    "order": "all",
                }
                yield {
                    **difference, "mean": pairs.mean, "interval_half_width": pairs.half_width, "count": pairs.pairs,
                }  # fmt: skip
        for metric, _ in PER_TASK if per_task and identity != "seen" else ():
            for tasks in orders:
                for task in tasks:
                    found = over_seeds(method, tasks, measures.of_task(identity, metric, task))
                    about = {"task_identity": identity, "metric": metric, "task": task}
                    yield from _row(found, **about, order=group.orders[tasks])
    for metric, measure in COSTS.items():
        for tasks in orders:
            yield from _row(over_seeds(method, tasks, measure), metric=metric, order=group.orders[tasks])


def _row(found: Spread | None, **about: str) -> Iterator[dict[str, Any]]:
    if found is not None:
        yield {**about, "mean": found.mean, "standard_deviation": found.deviation, "count": found.count}
