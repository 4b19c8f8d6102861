"""`python -m plotting RUN_FOLDER...` redraws the figures of run folders, `python -m plotting NAME ...` makes one of many."""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.config.errors import UserError
from benchmarks.config.registry import nearest
from benchmarks.config.terminal import Command, call_it, program, say, say_error
from benchmarks.runs.folder import RunFiles
from plotting.draw import draw_all
from plotting.found import commands


COMMANDS = "\n".join(f"{name:<14}{words}" for name, words in commands().items())


class FigureOrRuns(Command):
    """Passes the words on to the command of the figure that the first of them names, else draws the runs that they name."""

    def main(self, args: Sequence[str] | None = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Runs the command, as `click.Command.main` does."""
        name, *words = list(sys.argv[1:] if args is None else args) or [""]
        if name in commands():
            call_it(f"{program('plotting')} {name}")
            return importlib.import_module(f"plotting.{name}").main(words, **kwargs)
        if not (os.path.exists(name) or RunFiles.of(Path(name)).is_packed) and (
            near := nearest(name, list(commands()))
        ):
            say(f"error: {name}: neither a figure nor a run folder{near}")
            sys.exit(2)
        return super().main(args, **kwargs)


@click.command(
    cls=FigureOrRuns,
    help="Redraw the figures of each RUN_FOLDER, into its folder plots/.",
    epilog=f"\b\nFigures of many runs, {program('plotting')} NAME --help:\n{COMMANDS}",
    context_settings={"max_content_width": 140},
)
@click.argument("folders", metavar="RUN_FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path))
def main(folders: tuple[Path, ...]) -> None:
    """Draws the figures of each run folder and prints their paths; exits with 2 if one of the folders fails."""
    failed = False
    for folder in folders:
        try:
            for path in draw_all(folder):
                print(path)
        except (UserError, OSError) as error:
            say_error(error)
            failed = True
    sys.exit(2 if failed else 0)


if __name__ == "__main__":
    main()
