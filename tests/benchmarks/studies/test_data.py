"""What a study measures besides runs: each cell once, in a file that a kill leaves whole."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.config.errors import UserError
from benchmarks.studies import data
from benchmarks.studies.base import Data, Row


CELLS: list[Row] = [{"weights": "trained", "seed": 1}, {"weights": "trained", "seed": 2}]


def of(asked: list[Row], fails_at: int | None = None) -> Data:
    def measure(cell: Row, options: Mapping[str, Any]) -> Iterator[Row]:
        asked.append(cell)
        for value in (0.1, None):
            yield {"value": value, "of": options["data_root"]}
            if cell["seed"] == fails_at:
                raise UserError("no such data")

    return Data(cells=CELLS, quick=(), measure=measure)


def test_a_cell_is_measured_once_and_what_is_measured_stays(tmp_path: Path) -> None:
    asked: list[Row] = []
    with pytest.raises(UserError, match="no such data"):
        data.measure(of(asked, fails_at=2), CELLS, tmp_path, {"data_root": "d"})
    assert data.left(CELLS, tmp_path) == CELLS[1:]  # a cell counts when all its rows are there
    with pytest.raises(UserError, match=r"1 of 2 cells are not measured, first .*'seed': 2"):
        data.rows(CELLS, tmp_path)
    data.measure(of(asked), CELLS, tmp_path, {"data_root": "d"})
    assert [cell["seed"] for cell in asked] == [1, 2, 2] and not data.left(CELLS, tmp_path)
    found = data.rows(CELLS[::-1], tmp_path)
    assert found[0] == {"weights": "trained", "seed": 2, "value": 0.1, "of": "d"} and len(found) == 4
    assert (tmp_path / data.FILE).read_text().count("\n") == len(CELLS) + 2  # a line for each


def test_a_number_is_the_same_cell_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / data.FILE).write_text('[{"cell": {"weights": "trained", "seed": 1.0}, "rows": [{"value": 3}]}]')
    assert data.rows(CELLS[:1], tmp_path) == [{**CELLS[0], "value": 3}]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    for text in ("[", "{}", '[{"cell": {}}]'):
        (tmp_path / data.FILE).write_text(text)
        with pytest.raises(UserError, match=r"data\.json: damaged"):
            data.left(CELLS, tmp_path)
