"""Tables from run folders, without torch: `python -m benchmarks.compare results/`."""

import sys
from pathlib import Path

import click

from benchmarks import files
from benchmarks.comparison import formats, groups, records, tables
from benchmarks.comparison.published import beside
from benchmarks.errors import UserError
from benchmarks.runs import find


FORMATS = (*formats.FORMATS, "csv")
RESULTS = Path("results")


@click.command()
@click.argument("results", nargs=-1, type=click.Path(path_type=Path), metavar="[RESULTS...]")
@click.option("--format", "form", type=click.Choice(FORMATS), default="terminal", help="  [terminal]")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="instead of the terminal")
@click.option("--per-task", is_flag=True, help="also Transfer, Avg and Last of each task, as papers print them")
@click.option("--baseline", metavar="METHOD", help="also paired differences to this method, with confidence intervals")
@click.option("--published", is_flag=True, help="also the published figures of the same protocol, and the differences")
@click.option("--stream", multiple=True, metavar="TEXT", help="only these streams (again for more)")
@click.option("--order", multiple=True, metavar="TEXT", help="only these orders")
@click.option("--strategy", multiple=True, metavar="TEXT", help="only these strategies")
@click.option("--setting", multiple=True, metavar="NAME=VALUE", help="only runs with these settings")
def main(
    results: tuple[Path, ...], form: str, output: Path | None, per_task: bool, baseline: str | None, published: bool,
    stream: tuple[str, ...], order: tuple[str, ...], strategy: tuple[str, ...], setting: tuple[str, ...],
) -> None:  # fmt: skip
    """Compare the run folders at or below RESULTS (default: results).

    Runs of different streams, protocols, backbones or shots stand in tables of their own. Unfinished and damaged runs are left
    out and listed.
    """
    try:
        if wrong := [each for each in setting if "=" not in each]:
            raise UserError(f"--setting {wrong[0]}: expected NAME=VALUE, as in lr=0.001")
        found = groups.sort(find(results or (RESULTS,)), groups.Filter(stream, order, strategy, setting))
        for line in [*(f"left out: {line}" for line in found.left_out), *(f"note: {line}" for line in found.remarks)]:
            print(line, file=sys.stderr)
        if not found.groups:
            reason = (
                "all are left out" if found.left_out else "no run there is of the stream, order, strategy or setting"
            )
            raise UserError(f"nothing to compare: {reason}")
        text = _text(found.groups, form, output, per_task, baseline, published)
        if output is None:
            print(text, end="")
        else:
            files.write_text(output, text)
    except (UserError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def _text(
    found: list[groups.Group], form: str, output: Path | None, per_task: bool, baseline: str | None, published: bool
) -> str:
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
