"""Writes tables as a web page: `.html`."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.comparison.contents import Comparison


SUFFIXES = (".html", ".htm")


def write(comparison: Comparison) -> str:
    """Returns the HTML text of a web page with all tables, complete in one file that refers to no others.

    Args:
        comparison: the groups of runs, and which tables to make of them.
    """
    return environment().get_template("compare.html").render(sections=comparison.sections())


def environment() -> Environment:
    """Returns the jinja2 environment that loads the pages' templates by file name, such as `report.html`, and escapes
    all inserted text.
    """
    folder = Path(__file__).parent / "templates"
    return Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
