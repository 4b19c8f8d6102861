"""What a study measures besides runs: each cell once, kept in one small file that is committed with the study's runs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.config.errors import UserError
from benchmarks.config.terminal import say
from benchmarks.runtime import files
from benchmarks.studies.base import Data, Row


FILE = "data.json"  # beside the run folders: a line for each cell, with its rows


def left(cells: Sequence[Row], results: Path) -> list[Row]:
    """Returns those of some cells that are not measured yet.

    Args:
        cells: the cells.
        results: the folder of the file.

    Raises:
        UserError: the file is damaged.
    """
    there = [entry["cell"] for entry in _entries(results)]
    return [cell for cell in cells if cell not in there]


def measure(data: Data, cells: Sequence[Row], results: Path, options: Mapping[str, Any]) -> None:
    """Measures the cells that are not measured yet, one after the other, and writes each as soon as it is.

    Args:
        data: what measures them.
        cells: the cells.
        results: the folder of the file.
        options: `data_root` and `cache`, as in `nb.run`.

    Raises:
        UserError: a cell cannot be measured, or the file cannot be written.
    """
    todo = left(cells, results)
    for number, cell in enumerate(todo, 1):
        say(f"{number}/{len(todo)} {' '.join(f'{name}={value}' for name, value in cell.items())} ...")
        entry = {"cell": cell, "rows": list(data.measure(cell, options))}
        lines = [json.dumps(each, allow_nan=False) for each in [*_entries(results), entry]]
        files.write_text(results / FILE, "[\n" + ",\n".join(lines) + "\n]\n")


def rows(cells: Sequence[Row], results: Path) -> list[Row]:
    """Returns the rows of all cells, each with what its cell has besides.

    Args:
        cells: the cells.
        results: the folder of the file.

    Raises:
        UserError: a cell is not measured, or the file is damaged.
    """
    if missing := left(cells, results):
        raise UserError(f"{results / FILE}: {len(missing)} of {len(cells)} cells are not measured, first {missing[0]}")
    entries = _entries(results)
    found = [next(entry["rows"] for entry in entries if entry["cell"] == cell) for cell in cells]
    return [{**cell, **row} for cell, measured in zip(cells, found, strict=True) for row in measured]


def _entries(results: Path) -> list[dict[str, Any]]:
    place = results / FILE
    if not place.is_file():
        return []
    found = files.read_json(place)
    if not isinstance(found, list) or not all(isinstance(each, dict) and {"cell", "rows"} <= {*each} for each in found):
        raise UserError(f"{place}: damaged, no list of cells; move it away to measure them anew")
    return found
