"""`python -m plotting RUN_FOLDER...` draws the plots of run folders again."""

import sys
from pathlib import Path

import click

from benchmarks.config.errors import UserError
from plotting.draw import draw_all


@click.command(help="Draw the plots of each RUN_FOLDER again, into its plots/.")
@click.argument("folders", metavar="RUN_FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path))
def main(folders: tuple[Path, ...]) -> None:
    failed = False
    for folder in folders:
        try:
            for path in draw_all(folder):
                click.echo(path)
        except (UserError, OSError) as error:
            click.echo(f"error: {error}", err=True)
            failed = True
    sys.exit(2 if failed else 0)


if __name__ == "__main__":
    main(prog_name="python -m plotting")
