"""Formats of tables, one file each; `find` discovers them.

The file of a format defines `SUFFIXES`, the suffixes of file names that select it, and `write(comparison)`, which
returns the text. It knows the tables and groups of a comparison, but no run folders, and not where the text is written.
"""

import importlib
import pkgutil
from typing import Any, Protocol

from benchmarks.comparison.contents import Comparison


def cell(value: Any) -> Any:
    """Returns a value for a cell of a csv file: a text that a spreadsheet would take for a formula gets a `'` in front.

    Args:
        value: a text, a number or None; numbers are returned as they are.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value


class Format(Protocol):
    """A module of `benchmarks.comparison.formats`, which writes comparisons in one format, such as csv.

    Attributes:
        SUFFIXES: the suffixes of file names that select this format, such as `(".csv",)`; may be empty.
    """

    SUFFIXES: tuple[str, ...]

    def write(self, comparison: Comparison) -> str:
        """Returns a comparison as the complete text of a file in this format.

        Args:
            comparison: the groups of runs, and which tables to make of them.

        Raises:
            UserError: the format cannot represent what was requested.
        """


def find() -> dict[str, Format]:
    """Returns the modules that write comparisons, by the format's name, which is their file's: `csv`, `html`, `latex`
    and others.
    """
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}  # type: ignore[misc]
