"""Formats of tables, one file each; `find` discovers them.

The file of a format defines `SUFFIXES`, the suffixes of file names that select it, and `write(comparison)`, which
returns the text. It knows the tables and groups of a comparison, but no run folders, and not where the text is written.
"""

import importlib
import pkgutil
from typing import Protocol

from benchmarks.comparison.contents import Comparison


class Format(Protocol):
    """The interface of a format's file.

    Attributes:
        SUFFIXES: the suffixes of file names that select this format.
    """

    SUFFIXES: tuple[str, ...]

    def write(self, comparison: Comparison) -> str:
        """Returns the text of a comparison. Raises UserError if the format cannot represent what was requested.

        Args:
            comparison: the groups of runs, and which tables to make of them.
        """


def find() -> dict[str, Format]:
    """Returns the formats by name, which is the name of their file, such as `csv`, `html` or `latex`."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}  # type: ignore[misc]
