"""Tables as a web page of their own: `.html`."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.comparison.contents import Comparison


SUFFIXES = (".html", ".htm")


def write(comparison: Comparison) -> str:
    """The page; it needs nothing besides itself."""
    return environment().get_template("compare.html").render(sections=comparison.sections())


def environment() -> Environment:
    """Where the pages' templates are; everything put into them is escaped."""
    folder = Path(__file__).parent / "templates"
    return Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
