"""Formats of tables, one file each: found here by `find`, listed nowhere.

A format's file has `SUFFIXES`, the ends of file names that mean it, and `write(comparison)`, which returns the text. It knows
the tables and groups of a comparison, and neither run folders nor where the text goes.
"""

import importlib
import pkgutil
from typing import Protocol

from benchmarks.comparison.contents import Comparison


class Format(Protocol):
    """What a format's file has."""

    SUFFIXES: tuple[str, ...]

    def write(self, comparison: Comparison) -> str:
        """The whole text. Raises UserError where the format cannot hold what was asked for."""


def find() -> dict[str, Format]:
    """The formats by name, that of their file."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}  # type: ignore[misc]
