"""Finds strategies and streams by file name, and reads what a strategy says of itself, without importing torch or Avalanche.

`--help` and `--list` have to answer at once, while the modules behind the names take many seconds to import. So a module's
first docstring line, its `Settings` class and its `ABOUT` are read from its source; nothing else in it is executed.
"""

import ast
import importlib
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmarks.config.errors import UserError
from strategies.about import About, default


ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"strategy": ROOT / "strategies", "stream": ROOT / "benchmarks" / "streams"}
# What a `Settings` class and an `ABOUT` may be written with: modules that cost nothing to import.
LIGHT_MODULES = {
    "__future__", "typing", "pydantic", "pydantic.dataclasses", "strategies.about", "strategies.shared.settings",
}  # fmt: skip


# What makes a file a strategy or a stream; every other file in their folders is a part that they share.
DEFINES = {"strategy": {"Plugin", "Settings"}, "stream": {"build"}}


@cache
def names(kind: str) -> list[str]:
    """The known strategies or streams: the files in their folder that define one, a stream's with hyphens for underscores.

    A strategy in a folder below is `FOLDER:FILE`, as `avalanche:ewc`. A stream may be a package.
    """
    folder = FOLDERS[kind]
    patterns = ("*.py", "*/*.py") if kind == "strategy" else ("*.py", "*/__init__.py")
    files = [path for pattern in patterns for path in folder.glob(pattern) if _defines(path, DEFINES[kind])]
    parts = [file.relative_to(folder).with_suffix("").parts for file in files]
    found = [":".join(part for part in each if part != "__init__") for each in parts]
    return sorted(name.replace("_", "-") if kind == "stream" else name for name in found if name)


def _defines(path: Path, names: set[str]) -> bool:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return any(isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name in names for node in body)


def _module(kind: str, name: str) -> str:
    return name.replace("-", "_") if kind == "stream" else name.replace(":", ".")


def _path(kind: str, name: str) -> Path:
    place = FOLDERS[kind] / _module(kind, name).replace(".", "/")
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


@cache
def _tree(kind: str, name: str) -> ast.Module:
    return ast.parse(_path(kind, name).read_text(encoding="utf-8"))


def summary(kind: str, name: str) -> str:
    """The first line of the docstring, for `--list`."""
    return (ast.get_docstring(_tree(kind, name)) or "").partition("\n")[0]


def nearest(word: str, known: list[str]) -> str:
    """` (did you mean "nusa"?)`, or an empty string when nothing is near."""
    close = get_close_matches(word, known, n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""


def check_name(kind: str, name: str) -> None:
    """Raises UserError with the nearest known name if there is no such strategy or stream."""
    known = names(kind)
    if name not in known:
        raise UserError(f'--{kind}: no {kind} "{name}"{nearest(name, known)}; known: {", ".join(known)}')


@cache
def settings_class(strategy: str) -> Any:
    """The strategy's `Settings`, a frozen pydantic dataclass.

    Raises:
        UserError: unknown strategy, or a strategy file without a `Settings` class.
    """
    check_name("strategy", strategy)
    body = _tree("strategy", strategy).body
    imports = [node for node in body if isinstance(node, ast.ImportFrom) and node.module in LIGHT_MODULES]
    classes = [node for node in body if isinstance(node, ast.ClassDef) and node.name == "Settings"]
    path = _path("strategy", strategy)
    if not classes:
        raise UserError(f"{path}: a strategy needs a class Settings")
    # The namespace poses as the module, so that the class resolves its annotations and pickles under its real name.
    namespace: dict[str, Any] = {"__name__": f"strategies.{_module('strategy', strategy)}"}
    exec(compile(ast.Module(body=[*imports, *classes], type_ignores=[]), str(path), "exec"), namespace)
    return namespace["Settings"]


@cache
def about(strategy: str) -> About:
    """The strategy's `ABOUT`; of a file without one, and of a name that no file has, what the name alone gives.

    Raises:
        UserError: the file's `ABOUT` cannot be read.
    """
    if strategy not in names("strategy"):
        return default(strategy)
    body, path = _tree("strategy", strategy).body, _path("strategy", strategy)
    imports = [node for node in body if isinstance(node, ast.ImportFrom) and node.module in LIGHT_MODULES]
    found = [node for node in body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ABOUT"]
    namespace: dict[str, Any] = {}
    try:
        exec(compile(ast.Module(body=[*imports, *found], type_ignores=[]), str(path), "exec"), namespace)
        return namespace.get("ABOUT") or default(strategy)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: ABOUT: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (NameError, TypeError) as error:
        raise UserError(f"{path}: ABOUT: {error}; write it with the names of strategies.about alone") from error


def load(kind: str, name: str) -> Any:
    """Imports the module of a strategy or stream: for a strategy this brings torch and Avalanche."""
    check_name(kind, name)
    package = FOLDERS[kind].relative_to(ROOT).as_posix().replace("/", ".")
    return importlib.import_module(f"{package}.{_module(kind, name)}")
