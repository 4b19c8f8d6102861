"""Writes tables in GitHub's Markdown: `.md`."""

import re

from benchmarks.comparison.contents import Comparison
from benchmarks.comparison.tables import Cell, Table


SUFFIXES = (".md",)
MARKS = "**Best**, *second best*."  # what marks in a table mean


def write(comparison: Comparison) -> str:
    """Returns the tables as Markdown text, best values bold, second best in italics.

    Args:
        comparison: the groups of runs, and which tables to make of them.
    """
    parts = []
    for section in comparison.sections():
        parts += [f"### {_text(section.title)}", *map(_text, section.notes)]
        for table in section.tables:
            parts.append(whole(table))
        if section.is_marked:
            parts.append(MARKS)
    return "\n\n".join(parts) + "\n"


def whole(table: Table) -> str:
    """Returns one table as Markdown text, with its title and notes.

    Args:
        table: the table.
    """
    return "\n\n".join([f"**{_text(table.title)}**", _table(table), *map(_text, table.notes)])


def _table(table: Table) -> str:
    rows = [[_text(heading) for heading in table.header], ["---", *("---:" for _ in table.header[1:])]]
    rows += [[_cell(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(cell: Cell) -> str:
    mark = {"best": "**", "second": "*", "": ""}[cell.mark]
    return f"{mark}{_text(cell.text)}{mark}"


def _text(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|#~$])", r"\\\1", text)
