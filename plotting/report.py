"""Writes one page about some runs: `python -m plotting.report [RESULTS...] -o report.html`."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import yaml
from matplotlib.figure import Figure

from benchmarks.comparison import differing, findings, formats, metric_columns, published, tables
from benchmarks.comparison.contents import Comparison
from benchmarks.comparison.costs import COSTS
from benchmarks.comparison.formats.html import environment
from benchmarks.comparison.groups import Group
from benchmarks.comparison.run_filters import choice, chosen
from benchmarks.comparison.sorting import Sorted
from benchmarks.config.errors import UserError
from benchmarks.config.terminal import Command
from benchmarks.runtime import files
from plotting import style
from plotting.found import IN_REPORT, find
from plotting.gaps import drawn


DECIMALS = re.compile(r"(\.\d\d)\d+")


def figures(group: Group) -> list[dict[str, Any]]:
    """Returns every figure of a group of runs for the page, one dict each.

    The keys are `svg` (the drawing, as the address of an image), `caption`, `alt` (the alternative text), `methods` (the
    labels of those that it shows, as a JSON list), `width` and `height` (in CSS pixels).

    Args:
        group: the runs.
    """
    found = []
    for in_report in find(IN_REPORT).values():
        for captioned in in_report(group):
            width, height = (round(96 * inches) for inches in captioned.figure.get_size_inches())
            methods = json.dumps(captioned.methods or drawn(group), ensure_ascii=False)
            words = {"caption": captioned.caption, "alt": captioned.alt, "methods": methods}
            found.append({**words, "svg": _drawing(captioned.figure), "width": width, "height": height})
    return found


def _drawing(figure: Figure) -> str:
    """Returns a figure as a data address, with its lines to a hundredth of a point: a page of many methods stays small."""
    svg = style.image(figure, "svg").decode()
    short = re.sub(r' d="[^"]*"', lambda path: DECIMALS.sub(r"\1", path[0]), svg)
    return f"data:image/svg+xml,{_address(' '.join(short.split()))}"


def _address(content: str) -> str:
    return quote(content, safe=" =,;/()+-.")


def about_group(group: Group) -> list[tuple[str, str]]:
    """Returns what a group of comparable runs consists of, as pairs of heading and text for the report's page.

    The headings, in order: `protocol`, `tasks`, `test images`, `methods`, `orders`, `seeds`, `versions of this
    project`, `machines`, and `settings` if the methods differ in common ones.

    Args:
        group: the runs.
    """
    first = group.first
    seeds = sorted({run.config["seed"] for run in group.runs})
    versions = {str(part["versions"].get("nusa-bench", "unknown")) for run in group.runs for part in run.environments}
    return [
        ("protocol", first.protocol.name),
        ("tasks", ", ".join(sorted(first.tasks))),
        ("test images", str(sum(first.protocol.tests))),
        ("methods", ", ".join(method.label for method in group.methods)),
        ("orders", "; ".join(group.orders.values())),
        ("seeds", ", ".join(map(str, seeds))),
        ("versions of this project", ", ".join(sorted(versions))),
        ("machines", "; ".join(metric_columns.machines(group.runs))),
        *(("settings", said) for said in differing.notes(group)),
    ]


def about_runs(group: Group) -> list[dict[str, Any]]:
    """Returns the settings and cost of each run for the page, one dict each.

    The keys are `method` (its label), `order` (its name), `seed`, `settings` (YAML text), and `about`: pairs of heading
    and text, from reference, folder and commit to parameters, storage, memory, times and machine.

    Args:
        group: the runs.
    """
    found = []
    for method in group.methods:
        for run in method.runs:
            first, last = metric_columns.trained(run)
            git = run.about.get("git") or {}
            changed = " with uncommitted changes" if git.get("uncommitted_changes") else ""
            about = [
                ("reference", method.about.reference or "none"),
                ("folder", str(run.folder)),
                ("commit", f"{git.get('commit', 'unknown')}{changed}"),
                ("trained parameters, first and last task", f"{first} and {last}"),
                *((cost.heading, cost.show(cost.of(run))) for cost in COSTS[1:]),
                ("machine", metric_columns.machine(run)),
            ]
            settings = yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True)
            names = {"method": method.label, "order": group.orders[run.tasks], "seed": run.config["seed"]}
            found.append({**names, "about": about, "settings": settings})
    return found


def page(found: Sorted) -> str:
    """Returns the HTML text of the report, with all tables and figures inside.

    Args:
        found: the groups of runs, of each of which the page has a part, and the lines about folders that are left out.
    """
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
                "findings": findings.findings(group),
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
    summary = f"{_count(runs, 'run')} of {_count(len(methods), 'method')} under {_count(len(groups), 'protocol')}."
    csv = formats.find()["csv"].write(Comparison(found.groups, per_task=True))
    return environment().get_template("report.html").render(
        title="Continual learning of CLIP: comparison", summary=summary, groups=groups,
        csv=f"data:text/csv,{_address(csv)}", note=findings.NOTE, remarks=[*found.left_out, *found.remarks],
    )  # fmt: skip


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@click.command("python -m plotting.report", cls=Command)
@choice
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE", help="the page to write, .html"
)
def main(output: Path, **choice: Any) -> None:
    """Write one page with tables, figures, settings and costs of the run folders at or below RESULTS (default:
    results).

    --stream, --order, --strategy and --setting restrict which runs are on the page.
    """
    if output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{output}: expected a name that ends in .html")
    files.write_text(output, page(chosen(**choice)))
    print(output)


if __name__ == "__main__":
    main()
