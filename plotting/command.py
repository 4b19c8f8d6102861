"""Common parts of the commands `python -m plotting.NAME`: choosing runs, and writing one figure."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from matplotlib.figure import Figure

from benchmarks.comparison.run_filters import choice, chosen, only_group
from benchmarks.config.errors import UserError
from benchmarks.config.terminal import Command
from plotting import style


WIDTHS = {"column": style.COLUMN, "page": style.PAGE}
FORMS = ("png", "svg", "pdf")


def output(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options `--output FILE` (required) and `--width` to a click command, and returns the command.

    Args:
        command: takes `output`, a path, and `width`, which is `column` or `page`: the figure's width in a paper.
    """
    command = click.option(
        "-o",
        "--output",
        required=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="the figure, a .png, .svg or .pdf",
    )(command)
    return click.option(
        "--width",
        type=click.Choice(list(WIDTHS)),
        default="page",
        help="width of the figure: a paper's column or page  [page]",
    )(command)


def write(make: Callable[[], Figure], output: Path) -> None:
    """Makes a figure, writes it to a file and prints the file's path.

    Args:
        make: returns the figure; may raise UserError.
        output: a .png, .svg or .pdf.

    Raises:
        UserError: the file's name has another ending, or the file cannot be written.
    """
    if output.suffix[1:].lower() not in FORMS:
        raise UserError(f"{output}: unknown format; expected a name that ends in .png, .svg or .pdf")
    style.save(make(), output)
    print(output)


def for_group(figure: Callable[..., Figure], name: str, words: str) -> click.Command:
    """Returns a click command that reads runs, draws them in one figure, and writes it to a file.

    The command has the argument RESULTS, options that choose among the runs, `--output` and `--width`. It ends with an
    error if the chosen runs may not be compared: with different streams, protocols, backbones or shots.

    Args:
        figure: takes a `Group` (runs that may be compared, by method) and a width in inches, and returns the figure.
        name: the command's name, for its help.
        words: its help text.
    """

    @click.command(name, cls=Command, help=words)
    @choice
    @output
    def command(width: str, output: Path, **choice: Any) -> None:
        def make() -> Figure:
            group = only_group(chosen(**choice))
            style.say_missing_letters([*group.first.tasks, *(method.label for method in group.methods)])
            return figure(group, WIDTHS[width])

        write(make, output)

    return command
