"""A run folder on the terminal: the accuracy matrix, the figures, and where the files are."""

import csv
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks import files


FIGURES = (("transfer", "Transfer"), ("avg", "Avg"), ("last", "Last"), ("forgetting", "forgetting"))


def _shown(figure: float | str | None) -> str:
    return "-" if figure in (None, "") else f"{float(figure):.1f}"


def matrix_table(path: Path) -> Table:
    """`accuracy.csv` with one decimal; the row of each task names it, its own cell stands out."""
    with (path / "accuracy.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    tasks = header[1:]
    table = Table(title="accuracy in %, task known", title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("after", no_wrap=True)
    for number, _ in enumerate(tasks, start=1):
        table.add_column(str(number), justify="right", no_wrap=True)
    for after, *cells in rows:
        state = int(after)
        shown = [f"[bold]{_shown(c)}[/]" if number == state else _shown(c) for number, c in enumerate(cells, start=1)]
        table.add_row(f"{state} {escape(tasks[state - 1])}" if state else "zero-shot", *shown)
    return table


def show(path: Path) -> None:
    """Prints a finished run."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    console.print(matrix_table(path))
    metrics = files.read_json(path / "metrics.json")
    figures = Table(title="percent", title_justify="left")
    figures.add_column("")
    for _, heading in FIGURES:
        figures.add_column(heading, justify="right")
    for row, values in (("task known", metrics), ("task unknown", metrics["agnostic"])):
        figures.add_row(row, *(_shown(values[name]) for name, _ in FIGURES))
    console.print(figures)
    console.print(f"files: {path}", markup=False, soft_wrap=True)
