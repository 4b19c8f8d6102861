"""One page with everything about some runs: `python -m plotting.report [RESULTS...] -o report.html`."""

import base64
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import yaml
from matplotlib.figure import Figure

from benchmarks.comparison import formats, measures, published, records, tables
from benchmarks.comparison.groups import Group, Sorted
from benchmarks.comparison.run_filters import choice, chosen
from benchmarks.config.errors import UserError
from benchmarks.runs.read import Run
from benchmarks.runtime import files
from plotting import compare, curves, interference, rank, spectrum, style


@dataclass(frozen=True)
class Drawing:
    """A figure as the page holds it: svg in base64, what it says in words, and its size in CSS pixels."""

    svg: str
    alt: str
    caption: str
    width: int
    height: int


def drawing(figure: Figure, caption: str, alt: str) -> Drawing:
    """An image of a figure."""
    with style.paper():
        svg = io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return Drawing(base64.b64encode(svg.getvalue()).decode(), alt, caption, width, height)


def figures(group: Group) -> list[Drawing]:
    """All figures of a group; the curves once for each order."""
    found = [
        drawing(
            compare.figure(group),
            "Transfer against Last, and Transfer, Avg and Last with a standard deviation over runs to each side.",
            f"Transfer and Last in percent: {_each(group, _transfer_and_last)}.",
        ),
        drawing(
            rank.figure(group),
            "Effective rank over the stream, by energy share and by entropy, and null directions left; the mean over the "
            "attention's matrices, with a standard deviation over runs to each side.",
            f"Entropy rank before and after the stream: {_each(group, _ranks)}.",
        ),
    ]
    for tasks, name in group.orders.items():
        part = group.in_order(tasks)
        caption = (
            f"The accuracy of each task over the stream, order {name}; first the means over tasks learned and to come."
        )
        words = _each(part, lambda run: measures.right_after(run, group.accuracy_identity))
        alt = f"Accuracy in percent right after learning, mean over tasks: {words}. The tables above have each task's figures."
        found.append(drawing(curves.figure(part), caption, alt))
    found.append(
        drawing(
            interference.figure(group),
            "How much of an update falls into the principal space, against how much is forgotten in it.",
            f"Interference, mean over tasks: {_each(group, _interference)}.",
        )
    )
    if any(run.spectrum is not None for run in group.runs):
        caption = "Singular values of the attention's matrices before and after the stream."
        alt = f"{caption} Entropy rank before and after: {_each(group, _ranks)}."
        found.append(drawing(spectrum.figure(group), caption, alt))
    return found


def _each(group: Group, of: Callable[[Run], Any]) -> str:
    """A figure, or several, of each method: the means over its runs."""
    words = []
    for method in group.methods:
        values = [value for value in map(of, method.runs) if value is not None]
        mean = np.atleast_1d(np.mean(values, axis=0)).tolist() if values else []
        words.append(f"{method.label} {' and '.join(f'{value:.1f}' for value in mean) or 'none'}")
    return "; ".join(words)


def _transfer_and_last(run: Run) -> tuple[float, float] | None:
    metrics = run.metrics[run.protocol.accuracy_identity]
    return None if run.learns_at_once or metrics["transfer"] is None else (metrics["transfer"], metrics["last"])


def _ranks(run: Run) -> tuple[float, float] | None:
    return run.entropy_rank


def _interference(run: Run) -> float | None:
    touched, _ = interference.of_steps(run)
    return float(touched.mean()) if len(touched) else None


def about_group(group: Group) -> list[tuple[str, str]]:
    """What was run."""
    first = group.first
    seeds = sorted({run.config["seed"] for run in group.runs})
    versions = {str(run.about.get("versions", {}).get("nusa-bench", "unknown")) for run in group.runs}
    return [
        ("protocol", first.protocol.name),
        ("tasks", ", ".join(sorted(first.tasks))),
        ("test images", str(sum(first.protocol.tests))),
        ("methods", ", ".join(method.label for method in group.methods)),
        ("orders", "; ".join(group.orders.values())),
        ("seeds", ", ".join(map(str, seeds))),
        ("versions of this project", ", ".join(sorted(versions))),
        ("machines", "; ".join(sorted({measures.machine(run) for run in group.runs}))),
    ]


def about_runs(group: Group) -> list[dict[str, Any]]:
    """Each run's settings, figures and cost."""
    found = []
    for method in group.methods:
        for run in method.runs:
            first, last = measures.trained(run)
            git = run.about.get("git") or {}
            changed = " with uncommitted changes" if git.get("uncommitted_changes") else ""
            about = [
                ("folder", str(run.folder)),
                ("commit", f"{git.get('commit', 'unknown')}{changed}"),
                ("trained parameters, first and last task", f"{first} and {last}"),
                ("carried", tables.size(measures.carried(run))),
                ("peak memory", tables.size(measures.memory(run))),
                ("training", tables.duration(measures.training_seconds(run))),
                ("evaluation", tables.duration(measures.evaluation_seconds(run))),
                ("machine", measures.machine(run)),
            ]
            settings = yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True)
            names = {"method": method.label, "order": group.orders[run.tasks], "seed": run.config["seed"]}
            found.append({**names, "about": about, "settings": settings})
    return found


def page(found: Sorted) -> str:
    """The whole page."""
    groups = []
    for group in found.groups:
        section = tables.section(group, per_task=False, baseline=None)
        per_task = []
        for tasks in group.orders:
            for table in tables.per_task_tables(group, tasks):
                table.title = f"order {group.orders[tasks]}, {table.title}"
                per_task.append(table)
        groups.append(
            {
                "title": group.title,
                "about": about_group(group),
                "tables": section.tables,
                "per_task": per_task,
                "figures": figures(group),
                "published": published.beside(group, per_task=True),
                "runs": about_runs(group),
            }
        )
    runs = sum(len(group.runs) for group in found.groups)
    methods = {method.label for group in found.groups for method in group.methods}
    summary = f"{_count(runs, 'run')} of {_count(len(methods), 'method')}, {_count(len(groups), 'kind')} of runs that compare."
    csv = records.as_csv(found.groups, per_task=True, baseline=None)
    return formats.environment().get_template("report.html").render(
        title="Continual learning of CLIP: comparison", summary=summary, groups=groups,
        csv=base64.b64encode(csv.encode()).decode(), remarks=[*found.left_out, *found.remarks],
    )  # fmt: skip


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@click.command("python -m plotting.report")
@choice
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE", help="the page, .html")
def main(output: Path, **choice: Any) -> None:
    """Write one page with tables, figures, settings and costs of the run folders at or below RESULTS."""
    try:
        if output.suffix.lower() not in (".html", ".htm"):
            raise UserError(f"{output}: expected a name that ends in .html")
        files.write_text(output, page(chosen(**choice)))
        print(output)
    except (UserError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
