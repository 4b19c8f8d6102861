"""Discovers the figures: the files of this folder that define certain functions."""

import ast
import importlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import plotting


# The functions that a figure's file may define, besides `main` for its command.
OF_RUN = "of_run"  # of_run(run) -> Figure; it is written to plots/ of every run folder, under the file's name
IN_REPORT = "in_report"  # in_report(group) -> Iterable[Captioned]; the figures of a group of runs in the report


def find(function: str) -> dict[str, Callable[..., Any]]:
    """Returns the functions of a certain name in the files of `plotting`, by the file's name, in alphabetical order.

    Files are parsed first, and only those that define the function are imported.

    Args:
        function: `of_run` (draws the figure of one run for its folder `plots`) or `in_report` (yields the figures of a
            group of runs for the report).
    """
    found = (name for name, tree in _trees(tuple(plotting.__path__)).items() if function in _defined(tree))
    return {name: getattr(importlib.import_module(f"plotting.{name}"), function) for name in found}


def commands() -> dict[str, str]:
    """Returns the files of `plotting` that are a command `python -m plotting.NAME`: the first line of the file's
    docstring, by NAME.
    """
    return {
        name: (ast.get_docstring(tree) or "").partition("\n")[0]
        for name, tree in _trees(tuple(plotting.__path__)).items()
        if "main" in _defined(tree) and not name.startswith("_")
    }


@cache
def _trees(folders: tuple[str, ...]) -> dict[str, ast.Module]:
    files = (path for folder in folders for path in Path(folder).glob("*.py"))
    return {
        path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(files, key=lambda path: path.stem)
    }


def _defined(tree: ast.Module) -> set[str]:
    """Returns the names of the functions and variables that a file defines."""
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assigned = (target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets)
    return functions | {target.id for target in assigned if isinstance(target, ast.Name)}
