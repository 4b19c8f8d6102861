"""The columns of measured tables: those that the measurements declare, and those that a run folder declares.

The measurements' files are parsed without importing them, so without torch.
"""

import ast
from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from typing import Any

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.runs.columns import Column
from benchmarks.runs.folder import RunFiles
from benchmarks.runs.schema import number


MANY = "..."  # the end of a name that stands for several columns


def tables(*, own: bool = False) -> dict[str, tuple[Column, ...]]:
    """Returns the descriptions of the columns of every table that measurements fill, by the table's name.

    A measurement is code that adds rows to one csv file of the run folder; `rank` is the table in `rank.csv`.

    Args:
        own: only this project's measurements, not those of installed packages.
    """
    found: dict[str, dict[str, Column]] = {}
    sources = [each for each in registry.sources("measurement").values() if not own or each.is_own_project]
    read = [_declared(source.file.read_text(encoding="utf-8")) for source in sources]
    for _, table, columns in sorted(filter(None, read), key=lambda each: each[0]):
        found.setdefault(table, {}).update({column.name: column for column in columns})
    return {table: tuple(columns.values()) for table, columns in found.items()}


def written(files: RunFiles, table: str) -> tuple[Column, ...]:
    """Returns the descriptions of a table's columns that the run folder itself holds, in its `run.json`.

    They are empty for a table that `run.json` does not describe, as in folders from before version 1.0.

    Args:
        files: the run's files.
        table: the table's name without suffix, for instance `rank`.

    Raises:
        UserError: `run.json` is damaged.
    """
    known = {field.name for field in fields(Column)}
    about = files.json("run.json").get("tables", {}) if files.has("run.json") else {}
    try:
        declared = about.get(table, {"columns": []})["columns"]
        return tuple(Column(**{name: value for name, value in each.items() if name in known}) for each in declared)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{files.at('run.json')}: damaged, tables.{table} declares no columns") from error


def required(columns: Iterable[Column], version: tuple[int, int]) -> tuple[str, ...]:
    """Returns the names of the columns that a table must have in a run folder of a certain schema version.

    These are the columns introduced in that version or before, without those that stand for a varying number of columns
    (their names end in `...`).

    Args:
        columns: the descriptions of all columns of the table.
        version: the folder's schema version, (major, minor).
    """
    return tuple(each.name for each in columns if not each.name.endswith(MANY) and number(each.since) <= version)


@cache
def _declared(text: str) -> tuple[int, str, tuple[Column, ...]] | None:
    """Returns the turn, table and columns of a measurement's class `Meter`; None if they are too complex to
    evaluate.
    """
    tree = ast.parse(text)
    meters = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Meter"]
    assigned = [statement for meter in meters for statement in meter.body if isinstance(statement, ast.Assign)]
    wanted = {"turn": ast.parse("0", mode="eval").body} | {
        ast.unparse(each.targets[0]): each.value for each in assigned
    }
    try:
        turn, table, columns = (_value(wanted[name], tree) for name in ("turn", "table", "columns"))
        return turn, table, tuple(columns)
    except (LookupError, TypeError):
        return None


def _value(node: ast.expr, tree: ast.Module) -> Any:
    """Returns the value of an expression that consists of constants, `Column`, and names of such expressions."""
    used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    names = {name: Column if name == "Column" else _named(name, tree) for name in used}
    return eval(compile(ast.Expression(node), "<columns>", "eval"), {"__builtins__": {}, **names})


def _named(name: str, tree: ast.Module) -> Any:
    """Returns the value of a name that a file assigns, or imports from another measurement's file."""
    modules = {source.module: source for source in registry.sources("measurement").values()}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            return _value(statement.value, tree)
        if isinstance(statement, ast.ImportFrom) and name in [each.name for each in statement.names]:
            return _named(name, modules[statement.module].tree)
    raise LookupError(name)
