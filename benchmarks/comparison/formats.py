"""Tables as text: for the terminal, Markdown, LaTeX and HTML. `records` has the csv."""

import io
import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.comparison.tables import Cell, Section, Table


NARROW_SPACE = "\u202f"
COLUMN_HOLDS = 7  # columns of a table that one of two columns of text holds
WIDEST = 400  # columns of a terminal that is none


def terminal(sections: list[Section], width: int | None = None) -> str:
    """Best figures bold, second best underlined; without colours, marked * and + instead, where there is no terminal."""
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    out = io.StringIO()
    plain = width is None
    console = Console(file=out, width=width or WIDEST, force_terminal=not plain, color_system=None, highlight=False)
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
                grid.add_row(*(_terminal_cell(cell, plain) for cell in row))
            console.print(grid)
            for note in table.notes:
                console.print(Text(note), soft_wrap=True)
        console.print()
    legend = "* best, + second best\n" if plain else "bold: best, underlined: second best\n"
    return out.getvalue() + (legend if any(_has_marks(section) for section in sections) else "")


def _terminal_cell(cell: Cell, plain: bool):  # type: ignore[no-untyped-def]
    from rich.text import Text

    if plain:
        return Text(
            cell.text + {"best": " *", "second": " +", "": "  "}[cell.mark] if cell.value is not None else cell.text
        )
    return Text(cell.text, style={"best": "bold", "second": "underline", "": ""}[cell.mark])


def _has_marks(section: Section) -> bool:
    return any(map(_is_marked, section.tables))


def _is_marked(table: Table) -> bool:
    return any(cell.mark for row in table.rows for cell in row)


def markdown(sections: list[Section]) -> str:
    """GitHub's tables; best bold, second best in italics."""
    parts = []
    for section in sections:
        parts += [f"### {_markdown_text(section.title)}", *map(_markdown_text, section.notes)]
        for table in section.tables:
            parts += [f"**{_markdown_text(table.title)}**", markdown_table(table), *map(_markdown_text, table.notes)]
        if _has_marks(section):
            parts.append("**Best**, *second best*.")
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table) -> str:
    """The table alone."""
    rows = [[_markdown_text(heading) for heading in table.header], ["---", *("---:" for _ in table.header[1:])]]
    for first, *others in table.rows:
        rows.append([_code(first.text), *(_emphasis(cell) for cell in others)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _code(name: str) -> str:
    """A name as code, whatever backticks it has; a bar would end the cell."""
    fence = "`" * (max(map(len, re.findall("`+", name)), default=0) + 1)
    pad = " " if name.startswith("`") or name.endswith("`") else ""
    return f"{fence}{pad}{name}{pad}{fence}".replace("|", "\\|")


def _emphasis(cell: Cell) -> str:
    mark = {"best": "**", "second": "*", "": ""}[cell.mark]
    return f"{mark}{_markdown_text(cell.text)}{mark}"


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|#~$])", r"\\\1", text)


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "[": "{[}", "]": "{]}", "*": "{*}", "±": r"$\pm$", "–": "--", "→": r"$\to$", NARROW_SPACE: r"\,", "·": r"$\cdot$",
    '"': "''",
}  # fmt: skip


def latex_text(text: str) -> str:
    """Escaped: in LaTeX an underscore ends the run."""
    return "".join(LATEX.get(letter, letter) for letter in text)


def latex(sections: list[Section]) -> str:
    """A `table` for each, with booktabs' rules; best bold, second best underlined. Wide ones are shrunk to the line."""
    parts = [r"% \usepackage{booktabs,graphicx}; names with letters beyond Latin need LuaLaTeX or XeLaTeX"]
    for section in sections:
        notes = " ".join(map(latex_text, section.notes))
        parts.append(f"\\paragraph{{{latex_text(section.title)}}} {{\\small\\sloppy {notes}\\par}}")
        parts += [_latex_table(table, section) for table in section.tables]
    return "\n\n".join(parts) + "\n"


def _latex_table(table: Table, section: Section) -> str:
    lines = [" & ".join(map(latex_text, table.header)) + r" \\", r"\midrule"]
    for row in table.rows:
        lines.append(" & ".join(_latex_cell(cell) for cell in row) + r" \\")
    body = "\n".join([r"\toprule", *lines, r"\bottomrule"])
    marks = ["Bold: best; underlined: second best"] if _is_marked(table) else []
    notes = [note.rstrip(".") for note in table.notes]
    caption = latex_text(". ".join([f"{section.title}: {table.title}", *notes, *marks]) + ".")
    tabular = f"\\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}\n{body}\n\\end{{tabular}}"
    # Shrunk where it is too wide, never stretched.
    fitted = f"\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n{tabular}}}"
    float_ = "table*" if len(table.header) > COLUMN_HOLDS else "table"
    return f"\\begin{{{float_}}}\n\\centering\n\\caption{{{caption}}}\n\\smallskip\n{fitted}\n\\end{{{float_}}}"


def _latex_cell(cell: Cell) -> str:
    text = latex_text(cell.text)
    return {"best": rf"\textbf{{{text}}}", "second": rf"\underline{{{text}}}", "": text}[cell.mark]


def html(sections: list[Section]) -> str:
    """A page of its own."""
    return environment().get_template("compare.html").render(sections=sections)


def environment():  # type: ignore[no-untyped-def]
    """Where the pages' templates are; everything put into them is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent / "templates"
    return Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True)


FORMATS: dict[str, Callable[[list[Section]], str]] = {
    "terminal": terminal, "markdown": markdown, "latex": latex, "html": html,
}  # fmt: skip
