"""Common parts of the commands `python -m plotting.NAME`: choosing runs, and writing one figure."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from matplotlib.figure import Figure

from benchmarks.comparison.groups import Group
from benchmarks.comparison.run_filters import choice, chosen, only_group
from benchmarks.config.errors import UserError
from benchmarks.config.terminal import Command, say
from plotting import style
from plotting.found import commands
from plotting.gaps import Gap, check, sentence


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


def drawable(group: Group, gaps: Sequence[Gap]) -> Group:
    """Returns a group of runs that a figure can show, after a line on stderr about what of it is not drawn.

    Another line says which letters of its names no font has.

    Args:
        group: the runs.
        gaps: what the figure does not show of them.

    Raises:
        UserError: the figure would show nothing.
    """
    style.say_missing_letters([*group.first.tasks, *(method.label for method in group.methods)])
    check(group, gaps)
    if said := sentence(gaps):
        say(f"note: {said}")
    return group


def for_group(
    figure: Callable[..., Figure], name: str, gaps: Callable[[Group], Sequence[Gap]] = lambda group: ()
) -> click.Command:
    """Returns a click command that reads runs, draws them in one figure, and writes it to a file.

    The command has the argument RESULTS, options that choose among the runs, `--output` and `--width`. It ends with an
    error if the chosen runs may not be compared: with different streams, protocols, backbones or shots; or if there is
    nothing to draw.

    Args:
        figure: takes a `Group` (runs that may be compared, by method) and a width in inches, and returns the figure.
        name: the figure's, which is that of its file. The first line of the file's docstring is the command's help.
        gaps: returns what the figure does not show of a `Group`, with the reasons; by default it shows everything.
    """

    @click.command(f"python -m plotting.{name}", cls=Command, help=commands()[name])
    @choice
    @output
    def command(width: str, output: Path, **choice: Any) -> None:
        def make() -> Figure:
            group = only_group(chosen(**choice))
            return figure(drawable(group, gaps(group)), WIDTHS[width])

        write(make, output)

    return command
