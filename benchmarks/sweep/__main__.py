"""Does many runs, on this machine or a Ray cluster: `python -m benchmarks.sweep --strategy nusa,lora --seed 42..46`."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.config.command_line import place_options
from benchmarks.config.errors import UserError
from benchmarks.config.settings import default_data_root
from benchmarks.config.terminal import Command, Place, plain, say
from benchmarks.experiment.besides import besides
from benchmarks.sweep import console, door
from benchmarks.sweep import search as searching
from benchmarks.sweep.cells import said
from benchmarks.sweep.file import block, read_blocks
from benchmarks.sweep.grid import Block
from benchmarks.sweep.options import Options


WIDE = 160  # characters of a table that is not for a terminal
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
    options.append(
        click.option(
            "--search", multiple=True, metavar="NAME=VALUES",
            help="a setting to choose among these values, on validation images: a tenth of the training images",
        )
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command(cls=Command, help=HELP, params=[*place_options()])
@click.argument("file", required=False, type=Place())
@_grid_options
@click.option("--dry-run", is_flag=True, help="list the runs and where they stand, and do nothing")
@click.option(
    "--print-commands", is_flag=True, help="print one ordinary command for each run that is to be done, and do nothing"
)
@click.option("--status", is_flag=True, help="count the runs by where they stand, list those that failed, do nothing")
@click.option("--retry-failed", is_flag=True, help="try those again that failed")
@click.option("--address", metavar="HOST:PORT", help="of a Ray cluster, or auto  [Ray on this machine alone]")
@click.option(
    "--cpus-per-run", type=int, default=Options.cpus, show_default=True, help="processors and threads of a run"
)
@click.option(
    "--gpus-per-run", type=float, help="GPUs of a run, or a share of one; 0 for none  [1 where there are GPUs]"
)
@click.option(
    "--timeout", type=float, default=Options.timeout, show_default=True, metavar="SECONDS",
    help="a run that says nothing for so long counts as lost",
)  # fmt: skip
@click.option(
    "--scratch", type=Place(), metavar="DIR",
    help="folder for runs on machines that do not see --results; after each task the files come to --results",
)  # fmt: skip
@click.option(
    "--results", type=Place(), default=Path("results"), show_default=True,
    help="folder in which run folders are made",
)  # fmt: skip
@click.option("--reference-images", type=Place(), metavar="DIR", help="as in benchmarks.run")
@click.option("--reference-texts", type=Place(), metavar="FILE", help="as in benchmarks.run")
@click.option("--no-cache", is_flag=True, help="decode images at every reading")
@click.option("--measure", metavar="NAME,...", default="", help="additional measurements")
@click.option("--log", metavar="NAME,...", default="", help="tensorboard, wandb: as in benchmarks.run")
@click.option("--probe", multiple=True, metavar="NAME[:DIR]", help="test outside the stream: as in benchmarks.run")
@click.option("--keep-states", is_flag=True, help="as in benchmarks.run")
@click.option("--predictions", is_flag=True, help="as in benchmarks.run")
@click.option("--plots", is_flag=True, help="draw each run's plots at its end; python -m plotting can draw them later")
@click.option("--trust-model-code", is_flag=True, help="as in benchmarks.run")
def main(
    file: Path | None, settings: tuple[str, ...], search: tuple[str, ...],
    dry_run: bool, print_commands: bool, status: bool, retry_failed: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Parses the command, and does what it says."""
    if sum((dry_run, print_commands, status)) > 1:
        raise UserError("--dry-run, --print-commands, --status: one of them at a time")
    engine = Options(*(options[name] for name in ("address", "cpus_per_run", "gpus_per_run", "timeout", "scratch")))
    given = {name: value for name in GRID if (value := options.pop(name)) is not None}
    blocks, shared = _blocks(file, given, settings, search), _shared(options)
    try:
        asked = door.plan(blocks, shared, opened=not status)
    except UserError:
        if dry_run:  # the data may be missing, and the runs can be listed without
            _show_runs(door.plan(blocks, shared, opened=False))
        raise
    if print_commands:
        for index in asked.left(retry_failed=retry_failed):
            print(asked.cells[index].request.command)
    elif dry_run:
        _show_runs(asked)
        console.say_remarks(asked)
    elif status:
        console.show_status(asked)
    else:
        console.say_remarks(asked)
        failed = console.do(asked, engine, retry_failed=retry_failed)
        if asked.is_search:
            _choose(asked)
        if failed:
            sys.exit(1)


def _show_runs(asked: door.Plan) -> None:
    for cell, each in zip(asked.cells, asked.standings, strict=True):
        print(plain(f"{each.state:<11} {cell.name}"))
    print(plain(console.counts(asked)), flush=True)


def _blocks(
    file: Path | None, given: dict[str, str], settings: tuple[str, ...], search: tuple[str, ...]
) -> list[Block]:
    """Returns the grid's blocks, from the file or from the command line."""
    both = {"set": _named("set", settings), "search": _named("search", search)}
    named: dict[str, Any] = {**given, **{option: values for option, values in both.items() if values}}
    if file:
        if named:
            raise UserError(
                f"--{next(iter(named))}: the grid is read from {file}; write all settings there, or leave the file out"
            )
        return read_blocks(file)
    if not named:
        raise UserError("no grid: name a file, or values, as in --strategy nusa,lora --seed 42..46")
    return [block(named, "")]


def _named(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    """Returns the values that an option names again and again, by the setting's name."""
    found: dict[str, str] = {}
    for each in texts:
        name, sign, values = (part.strip() for part in each.partition("="))
        if not (name and sign):
            raise UserError(f"--{option} {each}: expected NAME=VALUES, as in lr=1e-4,1e-3")
        if name in found:
            raise UserError(f"--{option} {name}: named twice; write all its values into one, with commas")
        found[name] = values
    return found


def _shared(options: dict[str, Any]) -> Any:
    measure, log = ([name.strip() for name in options[each].split(",") if name.strip()] for each in ("measure", "log"))
    also = besides(
        measure, log, list(options["probe"]), keep_states=options["keep_states"], predictions=options["predictions"]
    )
    root = options["data_root"]
    return door.shared_by_all(
        options["results"], also, data_root=None if root == default_data_root() else root,
        cache=options["cache"], use_cache=not options["no_cache"], auxiliary_images=options["reference_images"],
        auxiliary_texts=options["reference_texts"], trust_model_code=options["trust_model_code"], plots=options["plots"],
    )  # fmt: skip


def _choose(asked: door.Plan) -> None:
    """Prints and writes what the rules choose from the runs of a search."""
    rows = searching.choose(asked.cells)
    shown = Table(*searching.HEADER, box=None)
    for row in rows:
        shown.add_row(
            row.strategy, plain(said(row.settings)), *(each or "-" for each in row.numbers), ", ".join(row.chosen_by)
        )
    width = None if sys.stdout is not None and sys.stdout.isatty() else WIDE
    Console(highlight=False, markup=False, width=width).print(shown)
    for line in searching.remarks(rows):
        say(line)
    command = shlex.join(["python", "-m", "benchmarks.sweep", *sys.argv[1:]])
    for path in searching.write(rows, asked.cells, asked.shared.places.results, command):
        print(path)


if __name__ == "__main__":
    main()
