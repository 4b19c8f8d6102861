"""Finds where a package imports a name from, by parsing the source of its `__init__` without executing it."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder


def origin(package: str, name: str) -> tuple[str, str] | None:
    """Returns the module from which a package's `__init__` imports a name, and the name in that module.

    `("torchvision.models", "resnet18")` gives `("torchvision.models.resnet", "resnet18")`. The `__init__` is parsed, not
    executed. Imports by name and star imports are considered, and the last one counts. The result is None if the
    `__init__` defines the name itself, does not mention it, or binds it below the top level.

    Args:
        package: the package's full name, such as `torchvision.models`.
        name: the name that is wanted as an attribute of the package.
    """
    found = _binding(package, name)
    return None if found is None or found[0] == package else found


def _binding(module: str, name: str) -> tuple[str, str] | None:
    """Like `origin`, but returns the module itself if it defines the name. Imports of modules that are no packages are
    not followed.
    """
    source, is_package = _source(module)
    if not is_package and not re.search(rf"^(class|def|async def)? *{re.escape(name)}\b", source, re.MULTILINE):
        return None  # saves the time to parse it
    for statement in reversed(_statements(module)):
        if name in _defined(statement):
            return module, name
        if is_package and isinstance(statement, ast.ImportFrom):
            there = importlib.util.resolve_name(f"{'.' * statement.level}{statement.module or ''}", module)
            for alias in statement.names:
                if alias.name == "*" and not name.startswith("_") and (found := _binding(there, name)):
                    return found
                if name == (alias.asname or alias.name) and statement.module:
                    return there, alias.name
    return None


def _defined(statement: ast.stmt) -> Iterator[str]:
    """The names that a definition or an assignment binds."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


@cache
def _source(module: str) -> tuple[str, bool]:
    """A module's source, empty where it has none, and whether it is a package."""
    spec = _spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return "", False
    with open(spec.origin, encoding="utf-8") as file:
        return file.read(), spec.submodule_search_locations is not None


def _spec(module: str) -> ModuleSpec | None:
    """Like `importlib.util.find_spec`, which would import the packages above the module."""
    package, _, _ = module.rpartition(".")
    above = _spec(package) if package else None
    if package and (above is None or above.submodule_search_locations is None):
        return None
    return PathFinder.find_spec(module, above.submodule_search_locations if above else None)


@cache
def _statements(module: str) -> list[ast.stmt]:
    return ast.parse(_source(module)[0]).body
