"""Writes tables for a paper in LaTeX, with the package booktabs: `.tex`."""

import re
from itertools import count

from benchmarks.comparison.contents import Comparison
from benchmarks.comparison.groups import without_folders
from benchmarks.comparison.tables import Cell, Section, Table


SUFFIXES = (".tex",)
COLUMN_HOLDS = 7  # tables with more columns span both columns of a paper
NARROW_SPACE = "\u202f"
ESCAPED = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "[": "{[}", "]": "{]}", "*": "{*}", "±": r"$\pm$", "–": "--", "→": r"$\to$", NARROW_SPACE: r"\,", "·": r"$\cdot$",
    '"': "''",
}  # fmt: skip


def write(comparison: Comparison) -> str:
    """Returns the LaTeX text of a comparison: a heading for each group of runs, and a `table` for each of its tables.

    Best values are bold, second best underlined; tables that are wider than the line are scaled to it. Each has a label
    made of its title, such as `tab:order-default-task-known`. Of a path only the last name is written.

    Args:
        comparison: the groups of runs, and which tables to make of them.
    """
    parts = [r"% \usepackage{booktabs,graphicx}; names with letters beyond Latin need LuaLaTeX or XeLaTeX"]
    labels: set[str] = set()
    for section in comparison.sections():
        notes = " ".join(map(_text, section.notes))
        parts.append(f"\\paragraph{{{_text(section.title)}}} {{\\small\\sloppy {notes}\\par}}")
        parts += [_table(table, section, _label(table.title, labels)) for table in section.tables]
    return "\n\n".join(parts) + "\n"


def _label(title: str, taken: set[str]) -> str:
    """Returns a label that no other table has, and notes it."""
    words = re.sub("[^a-z0-9]+", "-", title.lower()).strip("-") or "table"
    numbered = (f"tab:{words}{f'-{number}' if number > 1 else ''}" for number in count(1))
    label = next(each for each in numbered if each not in taken)
    taken.add(label)
    return label


def _table(table: Table, section: Section, label: str) -> str:
    lines = [" & ".join(map(_text, table.header)) + r" \\", r"\midrule"]
    for row in table.rows:
        lines.append(" & ".join(_cell(cell) for cell in row) + r" \\")
    body = "\n".join([r"\toprule", *lines, r"\bottomrule"])
    marks = ["Bold: best; underlined: second best"] if table.is_marked else []
    notes = [note.rstrip(".") for note in table.notes]
    caption = _text(". ".join([f"{section.title}: {table.title}", *notes, *marks]) + ".")
    tabular = f"\\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}\n{body}\n\\end{{tabular}}"
    # Scaled down if it is too wide, never up.
    fitted = f"\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n{tabular}}}"
    float_ = "table*" if len(table.header) > COLUMN_HOLDS else "table"
    begin = f"\\begin{{{float_}}}\n\\centering\n\\caption{{{caption}}}\n\\label{{{label}}}"
    return f"{begin}\n\\smallskip\n{fitted}\n\\end{{{float_}}}"


def _cell(cell: Cell) -> str:
    text = _text(cell.text)
    return {"best": rf"\textbf{{{text}}}", "second": rf"\underline{{{text}}}", "": text}[cell.mark]


def _text(text: str) -> str:
    return "".join(ESCAPED.get(letter, letter) for letter in without_folders(text))
