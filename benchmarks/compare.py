"""Makes tables from run folders, without torch: `python -m benchmarks.compare results/`."""

import sys
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

import click

from benchmarks.comparison import formats
from benchmarks.comparison.contents import Comparison
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
@click.option("--published", is_flag=True, help="add the published results of the same protocol, and the differences")
def main(
    form: str | None, output: Path | None, per_task: bool, baseline: str | None, published: bool, **choice: Any
) -> None:
    """Compare the run folders at or below RESULTS (default: results).

    Runs with different streams, protocols, backbones or shots are in separate tables. Unfinished and damaged runs are
    left out and listed. --stream, --order, --strategy and --setting restrict which runs are compared.
    """
    form = form or _by_suffix(output)
    width = get_terminal_size().columns if output is None and sys.stdout is not None and sys.stdout.isatty() else None
    found = Comparison(chosen(**choice).groups, per_task, baseline, published, width)
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


def _check_baseline(found: Comparison) -> None:
    """Raises UserError if no group has the baseline."""
    if found.baseline is not None and not any(group.named(found.baseline) for group in found.groups):
        keys = dict.fromkeys(repr(method.key) for group in found.groups for method in group.methods)
        raise UserError(f"--baseline {found.baseline}: no such method; there are {', '.join(keys)}")


if __name__ == "__main__":
    main()
