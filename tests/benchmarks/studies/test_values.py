"""Means, intervals and tables of studies, beside plain formulas."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.comparison.collection import Runs, load
from benchmarks.comparison.tables import Cell, Table
from benchmarks.config.errors import UserError
from benchmarks.runs.pack import pack
from benchmarks.studies import values
from tests.run_folders import write_run


T2 = 4.302652729911275  # the quantile 0.975 of Student's t with two degrees of freedom
LAST = (61.0, 62.0, 66.0)


def written(folder: Path, count: int = 3, **settings: Any) -> Runs:
    """Runs of two tasks that end at `LAST`, by seed."""
    for seed, last in zip(range(count), LAST, strict=False):
        states = np.array([[50.0, 40.0], [70.0, 40.0], [last, last]])
        write_run(folder / f"{seed}", states, ["a", "b"], seed=seed, **settings)
    return load([folder])


def test_a_mean_of_three_seeds_has_its_interval(tmp_path: Path) -> None:
    found = values.mean(written(tmp_path), lambda run: run.metrics["known"]["last"])
    assert found is not None and found.mean == pytest.approx(63.0)
    assert found.half_width == pytest.approx(T2 * np.std(LAST, ddof=1) / 3**0.5)


def test_a_mean_of_two_seeds_has_none(tmp_path: Path) -> None:
    found = values.mean(written(tmp_path, 2), lambda run: run.metrics["known"]["last"])
    assert found is not None and (found.mean, found.half_width) == (61.5, None)


def test_a_table_has_a_row_for_each_setting_in_the_order_of_the_runs(tmp_path: Path) -> None:
    runs = Runs([*written(tmp_path / "x", rho=0.99), *written(tmp_path / "y", rho=0.9)])
    table = values.by_setting("t", runs, ["rho"], values.metrics())
    assert table.header == ("rho", "learning accuracy", "Transfer", "Avg", "Last", "forgetting")
    assert [row[0].text for row in table.rows] == ["0.99", "0.9"]
    half = T2 * np.std(LAST, ddof=1) / 3**0.5
    assert table.rows[0][4].text == f"63.0 [{63 - half:.1f}, {63 + half:.1f}]"
    assert table.rows[0][5].value == pytest.approx(70 - 63)


def test_a_table_of_few_seeds_says_so_in_the_place_of_intervals() -> None:
    table = Table(
        "t", ("a", "b"), [(Cell("x"), Cell("1.0 [0.5, 1.5]", value=1.0, spread=0.5))], [values.INTERVALS, "more"]
    )
    few = values.without_intervals(table)
    assert few.rows == [(Cell("x"), Cell("1.0", value=1.0))] and few.notes == [values.FEWER, "more"]


def test_a_column_of_rank_is_its_mean_over_matrices_and_states(tmp_path: Path) -> None:
    (run,) = written(tmp_path, 1)
    assert values.of_rank("interference_right")(run) == pytest.approx(0.02)
    assert values.of_rank("interference_right", 0)(run) is None  # before any training
    rows = run.rank[run.rank["after"] == 2]
    assert values.of_rank("null_directions", 2)(run) == pytest.approx(rows["null_directions"].mean())


def test_a_run_packed_without_rank_has_its_means(tmp_path: Path) -> None:
    (run,) = written(tmp_path / "runs", 1)
    pack(tmp_path / "runs", tmp_path / "packed", together=True, without=["rank.csv"])
    (packed,) = load([tmp_path / "packed"])
    assert packed.rank.empty
    for name, after in (("interference_right", None), ("null_directions", 2), ("effective_rank", 0)):
        expected = values.of_rank(name, after)(run)
        assert expected is not None and values.of_rank(name, after)(packed) == pytest.approx(expected, rel=1e-5)
    assert values.of_rank("interference_right", 0)(packed) is None
    (run.folder / "rank.csv").write_text("after,tower,block,matrix,effective_rank\n0,image,0,q,many\n")
    pack(tmp_path / "runs", tmp_path / "other", together=True, without=["rank.csv"])
    (damaged,) = load([tmp_path / "other"])
    assert values.of_rank("effective_rank")(damaged) is None


def test_runs_of_several_streams_are_no_group(tmp_path: Path) -> None:
    write_run(tmp_path / "x", np.full((3, 2), 50.0), ["a", "b"])
    write_run(tmp_path / "y", np.full((3, 2), 50.0), ["a", "b"], stream="mtil")
    with pytest.raises(UserError, match="cannot be compared with one another: stream"):
        values.group(load([tmp_path]))
