"""Writes tables for a paper in LaTeX, with the package booktabs, and if asked for with siunitx: `.tex`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from benchmarks.comparison.contents import Comparison
from benchmarks.comparison.groups import without_folders
from benchmarks.comparison.tables import MISSING, Cell, Section, Table


SUFFIXES = (".tex",)
COLUMN_HOLDS = 7  # tables with more columns span both columns of a paper
NARROW_SPACE = "\u202f"
ESCAPED = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "[": "{[}", "]": "{]}", "*": "{*}", "±": r"$\pm$", "–": "--", "→": r"$\to$", NARROW_SPACE: r"\,", "·": r"$\cdot$",
    '"': "''",
}  # fmt: skip


NUMBER = re.compile(rf"(?P<sign>[+-]?)(?P<whole>\d[\d{NARROW_SPACE}]*)(?:\.(?P<part>\d+))?(?: ± (?P<spread>\d+\.\d+))?")
SETUP = (
    r"\sisetup{separate-uncertainty = true, table-align-uncertainty = false, retain-zero-uncertainty = true, "
    r"retain-explicit-plus = true, detect-weight = true}"
)


@dataclass(frozen=True)
class Numbers:
    """A column of siunitx: how many characters its numbers have at most.

    Attributes:
        sign: whether any has a sign.
        whole, part: digits before and after the point.
        spread: digits of the standard deviation; 0 if none has one.
    """

    sign: bool
    whole: int
    part: int
    spread: int

    @property
    def format(self) -> str:
        """The column's description for `tabular`, such as `S[table-format = 2.1(1)]`."""
        part, spread = f".{self.part}" if self.part else "", f"({self.spread})" if self.spread else ""
        return f"S[table-format = {'+' * self.sign}{self.whole}{part}{spread}]"

    def cell(self, cell: Cell) -> str:
        """Returns a cell of the column. An underlined number, which siunitx does not align, is filled up to the width of
        the others.

        Args:
            cell: a number, with or without a standard deviation, or no value.
        """
        found = NUMBER.fullmatch(cell.text)
        if found is None:
            return f"{{{_text(cell.text)}}}"
        number = cell.text.replace(NARROW_SPACE, "").replace("±", r"\pm")
        if cell.mark != "second":
            return rf"\bfseries {number}" if cell.mark else number
        own = numbers([cell])
        assert own is not None
        before = "{-}" * (self.sign and not own.sign) + "0" * (self.whole - own.whole)
        after = (r"{}\pm." if self.spread and not own.spread else "") + "0" * (self.spread - own.spread)
        left, right = (rf"$\phantom{{{space}}}$" if space else "" for space in (before, after))
        return rf"{{{left}\underline{{\num{{{number}}}}}{right}}}"


def numbers(cells: Sequence[Cell]) -> Numbers | None:
    """Returns how wide the numbers of a column are; None if a cell holds something else, or none holds a number.

    Args:
        cells: the column; cells without a value do not count.
    """
    texts = [cell.text for cell in cells if cell.text != MISSING]
    found = [match for text in texts if (match := NUMBER.fullmatch(text))]
    if not found or len(found) < len(texts):
        return None
    whole = max(len(each["whole"].replace(NARROW_SPACE, "")) for each in found)
    spread = max(len((each["spread"] or "").replace(".", "")) for each in found)
    return Numbers(any(each["sign"] for each in found), whole, max(len(each["part"] or "") for each in found), spread)


def write(comparison: Comparison) -> str:
    """Returns the LaTeX text of a comparison: a heading for each group of runs, and a `table` for each of its tables.

    Best values are bold, second best underlined; tables that are wider than the line are scaled to it. Each has a label
    made of its title, such as `tab:order-default-task-known`. Of a path only the last name is written. With siunitx, columns
    of numbers are aligned at their points.

    Args:
        comparison: the groups of runs, and which tables to make of them.
    """
    packages = "booktabs,graphicx,siunitx" if comparison.siunitx else "booktabs,graphicx"
    parts = [rf"% \usepackage{{{packages}}}; names with letters beyond Latin need LuaLaTeX or XeLaTeX"]
    labels: set[str] = set()
    for section in comparison.sections():
        notes = " ".join(map(_text, section.notes))
        parts.append(f"\\paragraph{{{_text(section.title)}}} {{\\small\\sloppy {notes}\\par}}")
        parts += [_table(table, section, _label(table.title, labels), comparison.siunitx) for table in section.tables]
    return "\n\n".join(parts) + "\n"


def _label(title: str, taken: set[str]) -> str:
    """Returns a label that no other table has, and notes it."""
    words = re.sub("[^a-z0-9]+", "-", title.lower()).strip("-") or "table"
    numbered = (f"tab:{words}{f'-{number}' if number > 1 else ''}" for number in count(1))
    label = next(each for each in numbered if each not in taken)
    taken.add(label)
    return label


def _table(table: Table, section: Section, label: str, siunitx: bool) -> str:
    columns = [
        numbers(cells) if siunitx and place else None for place, cells in enumerate(zip(*table.rows, strict=True))
    ]
    headings = [f"{{{_text(text)}}}" if own else _text(text) for text, own in zip(table.header, columns, strict=True)]
    lines = [" & ".join(headings) + r" \\", r"\midrule"]
    for row in table.rows:
        cells = [own.cell(cell) if own else _cell(cell) for cell, own in zip(row, columns, strict=True)]
        lines.append(" & ".join(cells) + r" \\")
    body = "\n".join([r"\toprule", *lines, r"\bottomrule"])
    marks = ["Bold: best; underlined: second best"] if table.is_marked else []
    notes = [note.rstrip(".") for note in table.notes]
    caption = _text(". ".join([f"{section.title}: {table.title}", *notes, *marks]) + ".")
    described = "".join(own.format if own else "r" for own in columns[1:])
    tabular = f"\\begin{{tabular}}{{l{described}}}\n{body}\n\\end{{tabular}}"
    # Scaled down if it is too wide, never up.
    fitted = f"\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n{tabular}}}"
    float_ = "table*" if len(table.header) > COLUMN_HOLDS else "table"
    begin = f"\\begin{{{float_}}}\n\\centering\n\\caption{{{caption}}}\n\\label{{{label}}}"
    begin += f"\n{SETUP}" if siunitx else ""
    return f"{begin}\n\\smallskip\n{fitted}\n\\end{{{float_}}}"


def _cell(cell: Cell) -> str:
    text = _text(cell.text)
    return {"best": rf"\textbf{{{text}}}", "second": rf"\underline{{{text}}}", "": text}[cell.mark]


def _text(text: str) -> str:
    return "".join(ESCAPED.get(letter, letter) for letter in without_folders(text))
