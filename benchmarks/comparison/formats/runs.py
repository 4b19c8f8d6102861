"""Writes one csv row for each run: every setting, the metrics, the cost and the provenance, at full precision.

This stores a search of hundreds of runs in one file: `python -m benchmarks.compare results/search --format runs`.
"""

import csv
import io
from typing import Any

import numpy as np

from benchmarks.comparison.contents import Comparison
from benchmarks.comparison.formats import cell
from benchmarks.comparison.groups import shown
from benchmarks.comparison.metric_columns import machine
from benchmarks.config.errors import UserError
from benchmarks.runs.metrics import class_incremental
from benchmarks.runs.read import Run


SUFFIXES: tuple[str, ...] = ()  # .csv selects the means over runs
METRICS = ("transfer", "avg", "last", "forgetting", "zero_shot")
# The entries of run.json that identify the origin of the metrics.
PROVENANCE = (
    "started", "seconds", "schema_version", "command", "strategy_sha256", "figures_version", "weights_sha256", "images_sha256",
    "stream_sha256",
    "reference_sha256", "files_sha256", "versions", "git", "hardware",
)  # fmt: skip


def write(comparison: Comparison) -> str:
    """Returns the csv text with one row for each run, sorted by the path of the run folder.

    The columns are all that any of the runs has: settings, metrics in percent, cost, and what identifies the run's
    origin (versions, digests, machine). A field that a run does not have is empty.

    Args:
        comparison: the groups of runs.

    Raises:
        UserError: published results, a baseline or values by task were requested.
    """
    if comparison.published or comparison.baseline or comparison.per_task:
        raise UserError(
            "--format runs: a row for each run holds no --published, --baseline or --per-task; leave those out"
        )
    runs = sorted((run for group in comparison.groups for run in group.runs), key=lambda run: run.folder)
    rows = [row(run) for run in runs]
    settings = [name for run in runs for name in run.config]  # first, beside each other
    columns = dict.fromkeys(["run", *settings, *(name for each in rows for name in each)])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([cell(name) for name in columns])
    writer.writerows([_field(each.get(name)) for name in columns] for each in rows)
    return out.getvalue()


def row(run: Run) -> dict[str, Any]:
    """Returns the values of one run by column name: settings, metrics, cost and provenance.

    Settings, cost and provenance have the names of `config.yaml`, `cost.json` and `run.json`, with nested keys joined
    by dots, as in `total_seconds.training`; of what `cost.json` lists for each task, only the largest
    `trained_parameters` and `carried_bytes`. Metrics are in percent, `forgetting` in percentage points: `transfer`,
    `avg`, `last`, `forgetting`, `zero_shot` and `learning_accuracy` (the mean over tasks of the accuracy on a task that
    has just been learned) of the task-aware accuracies, the same behind `agnostic.` of the task-agnostic ones, and
    `seen.avg` and `seen.last` of the class-incremental ones; those of a probe after the last task are `PROBE.METRIC`. For
    a strategy that learns all tasks in one training (`joint`), only `last` and `zero_shot` are meaningful. A run that
    went on in another environment has `machines`, all of them.

    Args:
        run: the run.
    """
    found: dict[str, Any] = {"run": run.folder.name, **run.config, "tasks": ",".join(run.tasks)}
    found |= {"protocol": run.protocol.name, "task_identity": run.protocol.identity}
    for identity, prefix in (("known", ""), ("unknown", "agnostic.")):
        found |= {prefix + name: run.metrics[identity][name] for name in METRICS}
        found[f"{prefix}learning_accuracy"] = float(np.diagonal(run.accuracy[identity][1:]).mean())
    if "seen" in run.accuracy:
        seen = class_incremental(run.accuracy["seen"][1:], np.array(run.protocol.tests))
        found |= {f"seen.{name}": seen[name] for name in ("avg", "last")}
    found |= {f"{probe}.{name}": values[-1] for (probe, name), values in run.probes.items()}
    before, after = run.entropy_rank or (None, None)
    found |= {"effective_rank_before": before, "effective_rank_after": after}
    found |= {name: max(run.cost[name], default=0) for name in ("trained_parameters", "carried_bytes")}
    found |= {name: value for name, value in _flat(run.cost).items() if not isinstance(value, list)}
    found |= _flat({name: run.about[name] for name in PROVENANCE if name in run.about})
    return found | ({"machines": machine(run)} if len(run.environments) > 1 else {})


def _field(value: Any) -> Any:
    return "" if value is None else cell(shown(value) if isinstance(value, bool | list | dict) else value)


def _flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Converts `{"git": {"commit": 1}}` to `{"git.commit": 1}`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{above}{name}.") if isinstance(value, dict) else {above + name: value}
    return found
