"""Does many runs, on this machine or a Ray cluster: `python -m benchmarks.sweep --strategy nusa,lora --seed 42..46`."""

import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click

from benchmarks.config.command_line import place_options
from benchmarks.config.errors import UserError
from benchmarks.config.settings import default_data_root
from benchmarks.config.terminal import Command, plain, say
from benchmarks.runtime import signals
from benchmarks.sweeps import door
from benchmarks.sweeps.file import read_blocks
from benchmarks.sweeps.grid import Block
from benchmarks.sweeps.options import Options
from benchmarks.sweeps.states import STATES
from benchmarks.sweeps.values import alternatives


GRID = ("strategy", "stream", "order", "seed")
HELP = """Do every run of a grid: each combination of the alternatives of its settings, for each strategy those that it has.

The grid is read from FILE (YAML), or from --strategy, --stream, --order, --seed and --set, whose VALUES are
alternatives: "0.9,0.95", "42..46" for a range, "[q,k],[q,k,v,o]" for values that have commas of their own.

Each run is an ordinary one, in its ordinary folder. Finished runs are not done again, and interrupted ones go on after
their last finished task, when the same command is given again.
"""


def _grid_options(command: Any) -> Any:
    meanings = {
        "strategy": "methods  [nusa]",
        "stream": "streams  [micro]",
        "order": "orders of the tasks  [default]",
        "seed": "seeds  [42]",
    }
    options = [click.option(f"--{name}", metavar="VALUES", help=meanings[name]) for name in GRID]
    options.append(
        click.option("--set", "settings", multiple=True, metavar="NAME=VALUES", help="another setting; again for more")
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(cls=Command, help=HELP, params=[*place_options()])
@click.argument("file", required=False, type=click.Path(path_type=Path))
@_grid_options
@click.option("--dry-run", is_flag=True, help="list the runs and where they stand, and do nothing")
@click.option(
    "--print-commands", is_flag=True, help="print one ordinary command for each run that is to be done, and do nothing"
)
@click.option("--status", is_flag=True, help="count the runs by where they stand, list those that failed, do nothing")
@click.option("--retry-failed", is_flag=True, help="try those again that failed")
@click.option("--address", metavar="HOST:PORT", help="of a Ray cluster, or auto  [Ray on this machine alone]")
@click.option(
    "--cpus-per-run", type=click.IntRange(1), default=1, show_default=True, help="processors and threads of a run"
)
@click.option(
    "--gpus-per-run", type=click.FloatRange(0), default=0.0, show_default=True, help="share of a GPU of a run"
)
@click.option(
    "--timeout", type=click.FloatRange(1), default=3600.0, show_default=True, metavar="SECONDS",
    help="a run that says nothing for so long counts as lost",
)  # fmt: skip
@click.option(
    "--scratch", type=click.Path(path_type=Path), metavar="DIR",
    help="folder for runs on machines that do not see --results; after each task the files come to --results",
)  # fmt: skip
@click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True,
    help="folder in which run folders are made",
)  # fmt: skip
@click.option("--reference-images", type=click.Path(path_type=Path), metavar="DIR", help="as in benchmarks.run")
@click.option("--reference-texts", type=click.Path(path_type=Path), metavar="FILE", help="as in benchmarks.run")
@click.option("--no-cache", is_flag=True, help="decode images at every reading")
@click.option("--measure", metavar="NAME,...", default="", help="additional measurements")
@click.option("--plots", is_flag=True, help="draw each run's plots at its end; python -m plotting can draw them later")
@click.option("--trust-model-code", is_flag=True, help="as in benchmarks.run")
def main(
    file: Path | None, settings: tuple[str, ...], dry_run: bool, print_commands: bool, status: bool, retry_failed: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Parses the command, and does what it says."""
    if sum((dry_run, print_commands, status)) > 1:
        raise UserError("--dry-run, --print-commands, --status: one of them at a time")
    given = {name: value for name in GRID if (value := options.pop(name)) is not None}
    asked = door.plan(_blocks(file, given, settings), _shared(options), opened=not status)
    if print_commands:
        for index in asked.left(retry_failed=retry_failed):
            print(asked.cells[index].request.command)
    elif dry_run:
        for cell, each in zip(asked.cells, asked.standings, strict=True):
            print(plain(f"{each.state:<9} {cell.name}"))
        print(plain(_counts(asked)))
    elif status:
        _show_status(asked)
    else:
        _do(asked, Options(*(options[name] for name in ("address", "cpus_per_run", "gpus_per_run", "timeout", "scratch"))),
            retry_failed)  # fmt: skip


def _blocks(file: Path | None, given: dict[str, str], settings: tuple[str, ...]) -> list[Block]:
    """Returns the grid's blocks, from the file or from the command line."""
    if file and (given or settings):
        name = next(iter(given), "set")
        raise UserError(f"--{name}: the grid is read from {file}; write all settings there, or leave the file out")
    if file:
        return read_blocks(file)
    if not (given or settings):
        raise UserError("no grid: name a file, or values, as in --strategy nusa,lora --seed 42..46")
    for each in settings:
        name, sign, values = each.partition("=")
        name = name.strip().replace("-", "_")
        if not (name and sign):
            raise UserError(f"--set {each}: expected NAME=VALUES, as in lr=1e-4,1e-3")
        if name in given:
            raise UserError(f"--set {name}: named twice; write all its values into one, with commas")
        given[name] = values
    found = {}
    for name, values in given.items():
        try:
            found[name] = alternatives(values)
        except ValueError as error:
            raise UserError(f"--{name if name in GRID else f'set {name}'}: {error}") from error
    return [Block(found)]


def _shared(options: dict[str, Any]) -> Any:
    measure = [name.strip() for name in options["measure"].split(",") if name.strip()]
    root = options["data_root"]
    return door.shared_by_all(
        options["results"], measure=measure, data_root=None if root == default_data_root() else root,
        cache=options["cache"], use_cache=not options["no_cache"], auxiliary_images=options["reference_images"],
        auxiliary_texts=options["reference_texts"], trust_model_code=options["trust_model_code"], plots=options["plots"],
    )  # fmt: skip


def _counts(asked: door.Plan) -> str:
    """How many runs stand where, such as `40 runs: 12 finished, 28 to do`."""
    counts = Counter(each.state for each in asked.standings)
    return f"{len(asked.cells)} runs: " + ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])


def _show_status(asked: door.Plan) -> None:
    print(plain(_counts(asked)))
    for cell, each in zip(asked.cells, asked.standings, strict=True):
        if each.state in ("running", "stopped"):
            print(plain(f"{each.state:<9} {cell.name}: {len(each.seconds)} tasks learned"))
        elif each.state == "failed":
            print(plain(f"{each.state:<9} {cell.name}: {_why(each.why, each.log)}"))


def _why(error: str, log: str) -> str:
    return f"{error}; log: {log}" if log else error


def _do(asked: door.Plan, options: Options, retry_failed: bool) -> None:
    with signals.raised() as came:
        try:
            failed = door.go(asked, options, retry_failed=retry_failed)
        except KeyboardInterrupt:
            say("\ninterrupted; the same command goes on after the last finished task of each run")
            sys.exit(128 + (came[0] if came else signal.SIGINT))
    print(plain(f"{len(asked.cells) - len(failed)} of {len(asked.cells)} runs finished"))
    for name, outcome in failed.items():
        say(f"failed: {name}: {_why(outcome.error, outcome.log)}")
    if failed:
        say("the same command with --retry-failed tries those again")
        sys.exit(1)


if __name__ == "__main__":
    main()
