"""Prints what a file of the run folder holds, as a Markdown table for results/README.md: `run_folder.py run.json`.

Instead of a json file: a measured table (`rank`), `settings` for those of every strategy, `strategies` for their own.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin


sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.config import registry
from benchmarks.config.settings import Common, extra
from benchmarks.runs import declared
from benchmarks.runs.columns import Column
from benchmarks.runs.keys import KEYS


WORDS = {int: "integer", float: "number", str: "text", bool: "`true` or `false`", NoneType: "none"}


def main(what: str) -> None:
    if what == "settings":
        print(_table(("setting", "type", "unit", "default", "meaning"), _settings(Common)))
    elif what == "strategies":
        own = {name: registry.settings_class(name) for name in registry.names("strategy")}
        rows = [(f"`{name}`", *row) for name, settings in own.items() for row in _settings(settings)]
        print(_table(("strategy", "setting", "type", "unit", "default", "meaning"), rows))
    else:
        columns = KEYS[what] if what in KEYS else declared.tables()[what]
        print(_table(("key" if what in KEYS else "column", "type", "unit", "since", "meaning"), map(_row, columns)))


def _row(column: Column) -> tuple[str, ...]:
    older = "" if column.default is None else f"; {column.default} in older folders"
    return f"`{column.name}`", column.kind, column.unit, column.since, column.meaning + older


def _settings(cls: Any) -> Iterable[tuple[str, ...]]:
    for name, field in cls.__pydantic_fields__.items():
        said = extra(field)
        required = field.is_required() and "before" not in said
        default = "in every folder" if required else _value(said.get("before", field.default))
        yield f"`{name}`", _kind(field.annotation), said.get("unit", ""), default, field.description


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_value, value))
    return "none" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _kind(annotation: Any) -> str:
    """A type in words."""
    inner = get_args(annotation)
    match get_origin(annotation):
        case origin if origin is Annotated:
            return _kind(inner[0])
        case origin if origin is Literal:
            return " or ".join(f"`{word}`" for word in inner)
        case origin if origin in (Union, UnionType):
            return " or ".join(map(_kind, inner))
        case origin if origin is dict:
            return "by task"
        case origin if origin is tuple:
            return f"list of {_kind(inner[0])}"
    return WORDS[annotation]


def _table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heading, ("---",) * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main(sys.argv[1])
