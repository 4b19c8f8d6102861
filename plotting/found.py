"""Finds the figures: the files beside this one that say what they draw, listed nowhere."""

import ast
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plotting


# What a figure's file may define, besides `main` for its command.
OF_RUN = "of_run"  # of_run(run) -> Figure, drawn into every run folder's plots/ under the file's name
IN_REPORT = "in_report"  # in_report(group) -> Iterable[Captioned], what the report shows of a group of runs


def find(function: str) -> dict[str, Callable[..., Any]]:
    """That function of each file that defines it, by the file's name, in alphabetical order.

    A file is read before it is imported, so that files which are no figures are not.
    """
    found = (name for name, tree in _trees().items() if function in _defined(tree))
    return {name: getattr(importlib.import_module(f"plotting.{name}"), function) for name in found}


def commands() -> dict[str, str]:
    """The first line of each file that is a command, `python -m plotting.NAME`, by its name."""
    return {
        name: (ast.get_docstring(tree) or "").partition("\n")[0]
        for name, tree in _trees().items()
        if "main" in _defined(tree) and not name.startswith("_")
    }


def _trees() -> dict[str, ast.Module]:
    files = (path for folder in plotting.__path__ for path in Path(folder).glob("*.py"))
    return {
        path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(files, key=lambda path: path.stem)
    }


def _defined(tree: ast.Module) -> set[str]:
    """The functions and variables that a file defines."""
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assigned = (target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets)
    return functions | {target.id for target in assigned if isinstance(target, ast.Name)}
