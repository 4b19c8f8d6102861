"""`python -m plotting RUN_FOLDER...` redraws the figures of run folders."""

import sys
from pathlib import Path

import click

from benchmarks.config.errors import UserError
from benchmarks.config.terminal import Command, say_error
from plotting.draw import draw_all
from plotting.found import commands


COMMANDS = "\n".join(f"{name:<14}{words}" for name, words in commands().items())


@click.command(
    cls=Command,
    help="Redraw the figures of each RUN_FOLDER, into its folder plots/.",
    epilog=f"\b\nFigures of many runs, python -m plotting.NAME --help:\n{COMMANDS}",
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
    main(prog_name="python -m plotting")
