"""Writes tables for the terminal, or as plain text for files: `.txt`."""

import io

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from benchmarks.comparison.contents import Comparison
from benchmarks.comparison.tables import Cell


SUFFIXES = (".txt",)
WIDEST = 400  # width in characters if the text does not go to a terminal


def write(comparison: Comparison) -> str:
    """Returns the tables as text, best values bold, second best underlined; in plain text they are marked * and +.

    The last line has the methods' names on the command line.

    Args:
        comparison: the groups of runs, which tables to make of them, and the width; without a width the text is plain.
    """
    out = io.StringIO()
    sections, plain = comparison.sections(), comparison.width is None
    width = comparison.width or WIDEST
    console = Console(file=out, width=width, force_terminal=not plain, color_system=None, highlight=False)
    for section in sections:
        console.print(Text(section.title, style="bold"), soft_wrap=True)
        for note in section.notes:
            console.print(Text(note), soft_wrap=True)
        for table in section.tables:
            console.print(Text(f"\n{table.title}"), soft_wrap=True)
            grid = Grid()
            for number, heading in enumerate(table.header):
                grid.add_column(Text(heading), justify="right" if number else "left", overflow="fold")
            for row in table.rows:
                grid.add_row(*(_plain(cell) if plain else _styled(cell) for cell in row))
            console.print(grid)
            for note in table.notes:
                console.print(Text(note), soft_wrap=True)
        console.print()
    legend = "* best, + second best\n" if plain else "bold: best, underlined: second best\n"
    keys = dict.fromkeys(key for section in sections for key in section.keys)
    names = f"methods as --baseline names them: {', '.join(keys)}\n" if keys else ""
    return out.getvalue() + (legend if any(section.is_marked for section in sections) else "") + names


def _plain(cell: Cell) -> Text:
    mark = {"best": " *", "second": " +", "": "  "}[cell.mark]
    return Text(cell.text if cell.value is None else f"{cell.text}{mark}")


def _styled(cell: Cell) -> Text:
    return Text(cell.text, style={"best": "bold", "second": "underline", "": ""}[cell.mark])
