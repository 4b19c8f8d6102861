"""Tables from run folders, without torch: `python -m benchmarks.compare results/`."""

import sys
from pathlib import Path
from typing import Any

import click

from benchmarks.comparison import formats, groups, records, tables
from benchmarks.comparison.published import beside
from benchmarks.comparison.run_filters import choice, chosen
from benchmarks.config.errors import UserError
from benchmarks.runtime import files


SUFFIXES = {".txt": "terminal", ".md": "markdown", ".tex": "latex", ".html": "html", ".csv": "csv"}
FORMATS = (*formats.FORMATS, "csv")


@click.command()
@choice
@click.option("--format", "form", type=click.Choice(FORMATS), help="  [terminal, or by FILE's suffix]")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="instead of the terminal")
@click.option("--per-task", is_flag=True, help="also Transfer, Avg and Last of each task, as papers print them")
@click.option("--baseline", metavar="METHOD", help="also paired differences to this method, with confidence intervals")
@click.option("--published", is_flag=True, help="also the published figures of the same protocol, and the differences")
def main(
    form: str | None, output: Path | None, per_task: bool, baseline: str | None, published: bool, **choice: Any
) -> None:
    """Compare the run folders at or below RESULTS (default: results).

    Runs of different streams, protocols, backbones or shots stand in tables of their own. Unfinished and damaged runs are left
    out and listed.
    """
    try:
        form = form or _by_suffix(output)
        text = _text(chosen(**choice).groups, form, output, per_task, baseline, published)
        if output is None:
            print(text, end="")
        else:
            files.write_text(output, text)
    except (UserError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def _by_suffix(output: Path | None) -> str:
    if output is None:
        return "terminal"
    if output.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"{output}: no format has this suffix; expected {', '.join(SUFFIXES)}, or name one with --format"
        )
    return SUFFIXES[output.suffix.lower()]


def _text(
    found: list[groups.Group], form: str, output: Path | None, per_task: bool, baseline: str | None, published: bool
) -> str:
    if baseline is not None and not any(group.named(baseline) for group in found):
        labels = ", ".join(dict.fromkeys(repr(method.label) for group in found for method in group.methods))
        raise UserError(f"--baseline {baseline}: no such method; there are {labels}")
    if form == "csv" and published:
        raise UserError(
            "--published: a csv holds what was measured here; benchmarks/comparison/published.csv is another"
        )
    if form == "csv":
        return records.as_csv(found, per_task=per_task, baseline=baseline)
    sections = []
    for group in found:
        sections.append(tables.section(group, per_task=per_task, baseline=baseline))
        if published:
            sections.append(beside(group, per_task=per_task))
    if form == "terminal" and output is None and sys.stdout.isatty():
        from shutil import get_terminal_size

        return formats.terminal(sections, get_terminal_size().columns)
    return formats.FORMATS[form](sections)


if __name__ == "__main__":
    main()
