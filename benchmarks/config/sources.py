"""Reads Python sources without importing them."""

import ast
import contextlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.config.errors import UserError


def parsed(file: Path) -> ast.Module:
    """Returns a file's syntax tree, the same as long as its text is.

    Args:
        file: the file.

    Raises:
        UserError: it cannot be read, or is not valid Python.
    """
    try:
        return _parse(file.read_text(encoding="utf-8"), str(file))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        raise UserError(f"{file}: not valid Python: {' '.join(str(error).split())}") from error


@cache
def _parse(text: str, name: str) -> ast.Module:
    return ast.parse(text, name)


def file_of(module: str) -> Path | None:
    """Returns the source of a module, which may not be importable; None if there is none.

    Args:
        module: its full name. The packages around it are imported.
    """
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def class_says(tree: ast.Module, name: str) -> dict[str, Any]:
    """Returns the constants of a class by name, also those of the classes that it derives from, as the sources have them;
    None for one that the sources compute.

    Args:
        tree: the source that defines the class.
        name: of the class.
    """
    found: dict[str, Any] = {}
    for index, node in enumerate(tree.body):
        if isinstance(node, ast.ClassDef) and node.name == name:
            for base in reversed(node.bases):
                found |= _base_says(ast.Module(tree.body[:index], []), ast.unparse(base))
            for part in node.body:
                if isinstance(part, ast.FunctionDef):  # a property
                    found[part.name] = None
                elif isinstance(part, ast.Assign | ast.AnnAssign) and part.value is not None:
                    target = part.targets[0] if isinstance(part, ast.Assign) else part.target
                    found[ast.unparse(target)] = None
                    with contextlib.suppress(ValueError):  # no constant
                        found[ast.unparse(target)] = ast.literal_eval(part.value)
    return found


def _base_says(tree: ast.Module, name: str) -> dict[str, Any]:
    """Returns the constants of a class that a source imports by `from strategies.MODULE import NAME`, or defines itself.

    Other modules are not looked for, since finding one imports the packages around it.
    """
    for node in tree.body:
        named = node.names if isinstance(node, ast.ImportFrom) else []
        if own := [alias.name for alias in named if name == (alias.asname or alias.name)]:
            module = getattr(node, "module", None) or ""
            file = file_of(module) if module.startswith("strategies.") else None
            return class_says(parsed(file), own[0]) if file else {}
    return class_says(tree, name)
