"""Reads the grid of a sweep from a YAML file: one block of settings with their alternatives, or a list of blocks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.config.errors import UserError, shown
from benchmarks.config.resolve import read_yaml
from benchmarks.sweep.grid import Block, at
from benchmarks.sweep.values import alternatives


SET = "set"  # a mapping of further settings, as `--set` on the command line
SEARCH = "search"  # a mapping of settings to choose among their values, as `--search`


def read_blocks(path: Path) -> list[Block]:
    """Returns the blocks of a sweep's file.

    A block is a mapping from a setting's name to its alternatives: a list of values, or a text as on the command line
    (`42..46`). A value that is a list itself stands in a list: `matrices: [[q, k], [q, k, v, o]]`. Settings may also
    stand below `set`, as after the command's `--set`, and those to choose among below `search`.

    Args:
        path: the file.

    Raises:
        UserError: the file cannot be read, has another form, or names a strategy by a Python file, since a file must not
            load code.
    """
    found = read_yaml(path, str(path))
    blocks = [found] if isinstance(found, dict) else found
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise UserError(f"{path}: expected lines of the form `name: values`, or a list of such blocks")
    if not blocks:
        raise UserError(f"{path}: empty; expected lines of the form `name: values`")
    places = [f"{path}, block {number}" for number in range(1, len(blocks) + 1)] if len(blocks) > 1 else [str(path)]
    found_blocks = [block(each, place) for each, place in zip(blocks, places, strict=True)]
    for each in found_blocks:
        for strategy in each.values.get("strategy", ()):
            if str(strategy).endswith(".py"):
                raise each.at(
                    UserError(f"strategy: a file names no code; sweep {strategy} with --strategy and no file")
                )
    return found_blocks


def block(given: Mapping[Any, Any], where: str) -> Block:
    """Returns a block of settings, as a file, a command or a call of Python holds it.

    Args:
        given: by the setting's name its alternatives: a list of values, a text as on the command line, or one value.
        where: how an error names the block; empty where there is only one.

    Raises:
        UserError: a name or a value has another form.
    """
    if not given:
        raise at(where, UserError("empty; expected lines of the form `name: values`"))
    try:
        values = _values({name: value for name, value in given.items() if name not in (SET, SEARCH)})
        searched: tuple[str, ...] = ()
        for part in (SET, SEARCH):
            further = given.get(part, {})
            if not isinstance(further, Mapping):
                raise UserError(f"{part}: expected lines of the form `name: values`, got {shown(further)}")
            if part == SEARCH and part in given and not further:
                raise UserError(f"{SEARCH}: names no setting; expected lines of the form `name: values`")
            named = _values(further)
            if twice := [name for name in named if name in values]:
                raise UserError(f"{twice[0]}: named twice, once as one to {part}; leave one out")
            values |= named
            searched = tuple(named) if part == SEARCH else searched
    except UserError as error:
        raise at(where, error) from error
    return Block(values, where, searched)


def _values(given: Mapping[Any, Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, value in given.items():
        if not isinstance(name, str):
            raise UserError(f"expected the names of settings, got {shown(name)}")
        if (known := name.replace("-", "_")) in found:
            raise UserError(f"{name}: named twice; write all its values into one place")
        found[known] = _alternatives(value, name)
    return found


def _alternatives(given: Any, name: str) -> list[Any]:
    if isinstance(given, str):
        try:
            return list(alternatives(given))
        except ValueError as error:
            raise UserError(f"{name}: {error}") from error
    found = list(given) if isinstance(given, list | tuple | range) else [given]
    if not found:
        raise UserError(f"{name}: no value; expected at least one")
    if any(each is None for each in found):
        raise UserError(f"{name}: an empty value; leave the setting out, or name a value (for shots: all)")
    return found
