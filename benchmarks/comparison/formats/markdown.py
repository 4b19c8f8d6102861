"""Writes tables in GitHub's Markdown: `.md`."""

import re

from benchmarks.comparison.contents import Comparison
from benchmarks.comparison.tables import Cell, Table


SUFFIXES = (".md",)


def write(comparison: Comparison) -> str:
    """Returns the tables as Markdown text, best values bold, second best in italics.

    Args:
        comparison: the groups of runs, and which tables to make of them.
    """
    parts = []
    for section in comparison.sections():
        parts += [f"### {_text(section.title)}", *map(_text, section.notes)]
        for table in section.tables:
            parts += [f"**{_text(table.title)}**", _table(table), *map(_text, table.notes)]
        if section.is_marked:
            parts.append("**Best**, *second best*.")
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    rows = [[_text(heading) for heading in table.header], ["---", *("---:" for _ in table.header[1:])]]
    rows += [[_cell(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(cell: Cell) -> str:
    mark = {"best": "**", "second": "*", "": ""}[cell.mark]
    return f"{mark}{_text(cell.text)}{mark}"


def _text(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|#~$])", r"\\\1", text)
