"""Prints a run folder on the terminal: the accuracy matrix, its metrics, and the place of its files."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.comparison.zero_shot import comparison
from benchmarks.config.terminal import plain
from benchmarks.runs.read import MATRICES, Run, read


METRICS = (("transfer", "Transfer"), ("avg", "Avg"), ("last", "Last"), ("forgetting", "forgetting"))


def _shown(value: Any) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.1f}"


def matrix_table(run: Run) -> Table:
    """Returns the accuracy matrix that a run's protocol reports, in percent, as a table for the terminal.

    There is one row for each number of tasks learned, from zero-shot (or the model that it started from) on, and one
    column for each task, headed by its number from 1. The accuracy on the task that has just been learned is bold; `-`
    was not measured.

    Args:
        run: the run.
    """
    table = Table(padding=(0, 1, 0, 0))
    table.add_column("after", no_wrap=True)
    for number, _ in enumerate(run.tasks, start=1):
        table.add_column(str(number), justify="right", no_wrap=True)
    first = "start" if "start" in run.about else "zero-shot"
    for state, cells in enumerate(run.accuracy[run.protocol.identity]):
        shown = [f"[bold]{_shown(c)}[/]" if number == state else _shown(c) for number, c in enumerate(cells, start=1)]
        table.add_row(f"{state} {escape(run.tasks[state - 1])}" if state else first, *shown)
    return table


def single_row(run: Run) -> Table:
    """Returns the accuracies in percent of a model that was only tested, as a table for the terminal.

    There is one column for each task, and one for their mean; one row for the task-aware and one for the task-agnostic
    accuracy, of which that which the stream's protocol reports is marked `*`.

    Args:
        run: the run, of which the state after the last task is shown.
    """
    table = Table(padding=(0, 1, 0, 0))
    for heading in ("", *map(escape, run.tasks), "mean"):
        table.add_column(heading, justify="right" if heading else "left")
    for identity in ("known", "unknown"):
        values = run.accuracy[identity][-1]
        mark = " *" if identity == run.protocol.accuracy_identity else ""
        table.add_row(MATRICES[identity][1] + mark, *map(_shown, values), _shown(values.mean()))
    return table


def metrics_table(run: Run) -> Table:
    """Returns Transfer, Avg, Last and forgetting of a run, as means over the tasks, as a table for the terminal.

    There is one row for each accuracy matrix: task-aware, task-agnostic and class-incremental. That which the stream's
    protocol reports is marked `*`. Values are in percent, forgetting in percentage points, and `-` where undefined: the
    class-incremental matrix has only Avg and Last; a run that learns all tasks at once has only Last of the other two.

    Args:
        run: the run.
    """
    metrics = run.files.json("metrics.json")
    if run.learns_at_once:  # all tasks in one training: only Last is defined
        metrics = {"last": metrics["last"], "agnostic": {"last": metrics["agnostic"]["last"]}, "seen": {}}
    values = {"known": metrics, "unknown": metrics["agnostic"], "seen": metrics.get("seen", {})}
    table = Table()
    table.add_column("")
    for _, heading in METRICS:
        table.add_column(heading, justify="right")
    for identity, (_, how) in MATRICES.items():
        mark = " *" if identity == run.protocol.identity else ""
        table.add_row(how + mark, *(_shown(values[identity].get(name)) for name, _ in METRICS))
    return table


def show_tested(path: Path) -> None:
    """Prints the accuracies of a model that was only tested, and its run folder, on the terminal.

    Args:
        path: the run folder.
    """
    run, console = read(path), _console()
    console.print("accuracy in %; *: what the stream's protocol reports", style="italic", soft_wrap=True)
    console.print(single_row(run))
    _print_end(run, path, console)


def _console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal or console.width < 1:  # with COLUMNS=0 rich prints nothing at all
        console = Console(highlight=False, width=200)
    return console


def _print_end(run: Run, path: Path, console: Console) -> None:
    if compared := comparison(run):
        console.print(compared[0])
        console.print(compared[1], markup=False, soft_wrap=True)
    console.print(plain(f"files: {path}"), markup=False, soft_wrap=True)


def show(path: Path) -> None:
    """Prints the accuracy matrix, the metrics and the folder of a finished run on the terminal.

    Args:
        path: the run folder.
    """
    run, console = read(path), _console()
    console.print(f"accuracy in %, {MATRICES[run.protocol.identity][1]}", style="italic", soft_wrap=True)
    console.print(matrix_table(run))
    console.print("\npercent; *: what the stream's protocol reports", style="italic", soft_wrap=True)
    console.print(metrics_table(run))
    if run.is_partial:
        console.print("-: earlier states were not tested on the tasks added later (their run had no --keep-states)")
    _print_end(run, path, console)
