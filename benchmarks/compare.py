"""Makes tables from run folders, without torch: `python -m benchmarks.compare results/`."""

import sys
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

import click

from benchmarks.comparison import formats
from benchmarks.comparison import frontier as trade_off
from benchmarks.comparison.contents import Comparison
from benchmarks.comparison.groups import named, unnamed
from benchmarks.comparison.run_filters import choice, chosen
from benchmarks.config.errors import UserError
from benchmarks.config.terminal import Command
from benchmarks.runtime import files


FORMATS = formats.find()
SUFFIXES = {suffix: name for name, found in FORMATS.items() for suffix in found.SUFFIXES}


@click.command(cls=Command)
@choice
@click.option(
    "--format", "form", type=click.Choice(list(FORMATS)), help="output format  [terminal, or by FILE's suffix]"
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="write to this file instead of the terminal"
)
@click.option("--per-task", is_flag=True, help="add tables of Transfer, Avg and Last of each task")
@click.option("--baseline", metavar="METHOD", help="add paired differences to this method, with confidence intervals")
@click.option(
    "--frontier", is_flag=True, help="each method's trade-off over its learning rates: area, values at equal accuracy"
)
@click.option("--along", metavar="NAME,...", help="with --frontier: over these settings  [lr]")
@click.option(
    "--predictors", is_flag=True, help="which measurements go with forgetting and loss of Transfer: rank correlations"
)
@click.option("--siunitx", is_flag=True, help="with LaTeX: align the numbers, by the package siunitx")
@click.option("--published", is_flag=True, help="add the published results of the same protocol, and the differences")
def main(
    form: str | None, output: Path | None, per_task: bool, baseline: str | None, frontier: bool, along: str | None,
    predictors: bool, siunitx: bool, published: bool, **choice: Any,
) -> None:  # fmt: skip
    """Compare the run folders at or below RESULTS (default: results).

    Runs with different streams, protocols, backbones or shots are in separate tables. Unfinished and damaged runs are
    left out and listed. --stream, --order, --strategy and --setting restrict which runs are compared.
    """
    form = form or _by_suffix(output)
    width = get_terminal_size().columns if output is None and sys.stdout is not None and sys.stdout.isatty() else None
    over = _along(frontier, along, per_task, published, form)
    if predictors:
        _check_alone(
            form, {"--per-task": per_task, "--baseline": baseline, "--frontier": frontier, "--published": published}
        )
    if siunitx and form != "latex":
        raise UserError(f"--siunitx: is for LaTeX, not for {form}; name a .tex with -o, or --format latex")
    found = Comparison(chosen(**choice).groups, per_task, baseline, published, over, siunitx, width, predictors)
    _check_baseline(found)
    text = FORMATS[form].write(found)
    if output is None:
        print(text, end="")
    else:
        files.write_text(output, text)
        print(output)


def _by_suffix(output: Path | None) -> str:
    if output is None:
        return "terminal"
    if output.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"{output}: no format has this suffix; expected {', '.join(SUFFIXES)}, or name one with --format"
        )
    return SUFFIXES[output.suffix.lower()]


def _along(frontier: bool, along: str | None, per_task: bool, published: bool, form: str) -> tuple[str, ...]:
    """Returns the settings over which methods are lines; none without `--frontier`."""
    if along is not None and not frontier:
        raise UserError("--along: goes with --frontier")
    if not frontier:
        return ()
    if per_task or published:
        raise UserError(f"--frontier: goes without --{'per-task' if per_task else 'published'}; ask for one at a time")
    if form in ("csv", "runs"):
        raise UserError(f"--frontier --format {form}: has no csv; without --frontier it has the values of every point")
    return trade_off.names(trade_off.ALONG if along is None else along)


def _check_alone(form: str, others: dict[str, Any]) -> None:
    """Raises UserError if `--predictors` stands beside an option for the usual tables, or asks for a csv of runs."""
    if given := [name for name, value in others.items() if value]:
        raise UserError(f"--predictors: goes without {given[0]}; ask for one at a time")
    if form in ("csv", "runs"):
        raise UserError(f"--predictors --format {form}: has no csv; take markdown, html, json or latex")


def _check_baseline(found: Comparison) -> None:
    """Raises UserError if no group has the baseline."""
    if found.baseline is None or found.along:  # whose lines have other names, and are checked where they are made
        return
    if not any(named(group.methods, found.baseline) for group in found.groups):
        raise unnamed([method for group in found.groups for method in group.methods], found.baseline)


if __name__ == "__main__":
    main()
