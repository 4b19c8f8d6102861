"""Common parts of the commands `python -m plotting.NAME`: choosing runs, and writing one figure with its caption."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click
from matplotlib.figure import Figure

from benchmarks.comparison.groups import Group
from benchmarks.comparison.run_filters import choice, chosen, only_group
from benchmarks.config.errors import UserError
from benchmarks.config.terminal import Command, say
from benchmarks.runtime import files
from plotting import captioned, style
from plotting.found import commands
from plotting.gaps import Gap, check, sentence


FORMS = ("png", "svg", "pdf")
WIDTHS = {"column": style.COLUMN, "page": style.PAGE}
SLIDE = (13.33, 7.5)  # inches
# A slide's figure is laid out as for a paper of the first of these widths, in inches, at which it has a slide's proportions,
# and then enlarged: the more there is to show, the smaller its letters.
LAYOUTS = (5.0, 5.8, 6.8, 8.0, 9.6, 11.4, SLIDE[0])


@dataclass(frozen=True)
class Target:
    """The file that a figure is written to.

    Attributes:
        file: its path; the suffix, `.png`, `.svg` or `.pdf`, is the format.
        size: `column` or `page` (of a paper) or `slide`.
        font: the family of its letters; None for the usual ones.
    """

    file: Path
    size: str
    font: str | None

    @property
    def caption(self) -> Path:
        """The file of the caption, beside the figure: `rank.txt` for `rank.pdf`."""
        return self.file.with_suffix(".txt")

    def sized(self, draw: Callable[[float], Figure]) -> tuple[Figure, float]:
        """Returns the figure in the target's size, and how much larger its file shows it.

        Args:
            draw: returns the figure in a width in inches.
        """
        if self.size in WIDTHS:
            return draw(WIDTHS[self.size]), 1.0
        for layout in LAYOUTS:
            figure = draw(layout)
            width, height = figure.get_size_inches()
            if width * SLIDE[1] >= height * SLIDE[0]:
                break
        return figure, min(SLIDE[0] / max(width, LAYOUTS[0]), SLIDE[1] / height)


def output(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options `--output FILE` (required), `--format`, `--size` and `--font` to a click command, and returns the
    command.

    Args:
        command: takes `target`, the `Target` that the options name.
    """

    @wraps(command)
    def with_target(output: Path, form: str | None, size: str, font: str | None, **others: Any) -> Any:
        return command(target=Target(_file(output, form), size, font), **others)

    sizes = click.Choice([*WIDTHS, "slide"])
    for option in (
        click.option("--font", metavar="NAME", help=f"font of the letters, as installed  [{style.FONT}]"),
        click.option("--size", "--width", "size", type=sizes, default="page", help="for a paper or a slide  [page]"),
        click.option("--format", "form", type=click.Choice(FORMS), help="format  [by FILE's suffix]"),
        click.option(
            "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE",
            help="the figure, a .png, .svg or .pdf; its caption is written beside it, as .txt",
        ),
    ):  # fmt: skip
        with_target = option(with_target)
    return with_target


def _file(output: Path, form: str | None) -> Path:
    if not output.name:
        raise UserError(f"{output}: a folder; name the figure's file")
    suffix = output.suffix[1:].lower()
    if form is None and suffix not in FORMS:
        raise UserError(
            f"{output}: unknown format; expected a name that ends in .png, .svg or .pdf, or name one with --format"
        )
    if form in (None, suffix):
        return output
    if suffix.isalpha():
        raise UserError(f"{output}: --format {form} contradicts the name; leave its suffix or --format out")
    return output.with_name(f"{output.name}.{form}")


def write(target: Target, make: Callable[[], tuple[Callable[[float], Figure], str]]) -> None:
    """Makes a figure and its caption, writes them to two files and prints the files' paths.

    Args:
        target: the figure's file, size and font.
        make: returns a function that draws the figure in a width in inches, and the caption; may raise UserError.

    Raises:
        UserError: the font is not installed, or a file cannot be written.
    """
    with style.font(target.font):
        draw, caption = make()
        figure, scale = target.sized(draw)
        style.save(figure, target.file, scale)
    files.write_text(target.caption, f"{caption}\n")
    print(target.file)
    print(target.caption)


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
    figure: Callable[..., Figure],
    name: str,
    caption: Callable[[Group], str] | None = None,
    gaps: Callable[[Group], Sequence[Gap]] = lambda group: (),
) -> click.Command:
    """Returns a click command that reads runs, draws them in one figure, and writes it to a file, with its caption in
    another.

    The command has the argument RESULTS, options that choose among the runs, `--output`, `--format`, `--size` and
    `--font`. It ends with an error if the chosen runs may not be compared: with different streams, protocols, backbones or
    shots; or if there is nothing to draw.

    Args:
        figure: takes a `Group` (runs that may be compared, by method) and a width in inches, and returns the figure.
        name: the figure's, which is that of its file. The first line of the file's docstring is the command's help.
        caption: returns the caption for a `Group`; by default that line, and what runs there are.
        gaps: returns what the figure does not show of a `Group`, with the reasons; by default it shows everything.
    """

    @click.command(f"python -m plotting.{name}", cls=Command, help=commands()[name])
    @choice
    @output
    def command(target: Target, **choice: Any) -> None:
        def make() -> tuple[Callable[[float], Figure], str]:
            group = only_group(chosen(**choice))
            missing = gaps(group)
            drawable(group, missing)
            words = caption(group) if caption else captioned.caption(group, commands()[name], missing)
            return lambda width: figure(group, width), words

        write(target, make)

    return command
