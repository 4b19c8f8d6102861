"""What each task caused, what was measured then, and the rank correlation of both."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.compare import main
from benchmarks.comparison.groups import Group
from benchmarks.comparison.predictors import Values, caused, correlation, pairs
from benchmarks.comparison.sorting import sort
from benchmarks.runs.folder import find
from tests.run_folders import write_csv, write_run


TASKS = ["ants", "bees", "cats"]


def made(folder: Path, strategy: str, seed: int, harm: list[float], measured: list[float]) -> None:
    """A run whose second and third task cost the earlier ones `harm`, and a table whose rows' means are `measured`."""
    after = [[50.0, 50.0, 50.0], [80.0, 49.0, 48.0]]
    after.append([80.0 - harm[0], 90.0, 47.0])
    after.append([80.0 - harm[0] - harm[1], 90.0 - harm[1], 70.0])
    place = write_run(folder / strategy / f"seed{seed}", np.array(after), TASKS, strategy, seed)
    rows = [
        [state, kind, value + shift]
        for state, value in enumerate([0.0, *measured])
        for kind, shift in (("q", -1), ("k", 1))
    ]
    write_csv(place / "strain.csv", ["after", "matrix", "strain"], rows)
    columns = [
        {"name": name, "kind": kind, "meaning": name, "unit": "", "since": "1.1", "default": None}
        for name, kind in (("after", "integer"), ("matrix", "text"), ("strain", "number"))
    ]
    about = json.loads((place / "run.json").read_text())
    about["tables"] = {"strain": {"file": "strain.csv", "keys": ["after", "matrix"], "columns": columns}}
    (place / "run.json").write_text(json.dumps(about))


def group(folder: Path) -> Group:
    (found,) = sort(find([folder]).folders).groups
    return found


def test_what_a_task_caused_is_taken_from_the_tasks_before_and_after_it() -> None:
    found = caused(np.array([[50, 40, 30], [80, 39, 28], [70, 90, 24], [71, 84, 60.0]]))
    np.testing.assert_allclose(found["forgetting"], [np.nan, 10, (-1 + 6) / 2])
    np.testing.assert_allclose(found["transfer loss"], [(1 + 2) / 2, 4, np.nan])


def test_a_measurement_is_the_mean_over_the_rows_of_its_state(tmp_path: Path) -> None:
    made(tmp_path, "nusa", 42, [3.0, 1.0], [7.0, 5.0, 2.0])
    found = pairs(group(tmp_path))
    assert found["strain: strain"].tolist() == [7.0, 5.0, 2.0] and found["run"].tolist() == [0, 0, 0]
    np.testing.assert_allclose(found["forgetting"], [np.nan, 3, 1])
    np.testing.assert_allclose(found["transfer loss"], [1.5, 1, np.nan])


def values(**columns: Any) -> Values:
    return {name: np.array(each, dtype=float) for name, each in columns.items()}


def test_it_is_spearmans_and_its_interval_over_runs() -> None:
    runs = list(range(40))
    straight = values(
        run=runs, method=[0] * 40, x=[float(each) ** 3 for each in runs], forgetting=[float(each) for each in runs]
    )
    found = correlation(straight, "x", "forgetting", within=False)
    assert found is not None and [*found] == pytest.approx([1, 1, 1])
    noise = np.random.default_rng(1).normal(size=(40, 2))
    loose = correlation(
        values(run=runs, method=[0] * 40, x=noise[:, 0], forgetting=noise[:, 1]), "x", "forgetting", within=False
    )
    assert loose is not None and loose.low is not None and loose.high is not None and loose.low < 0 < loose.high
    few = correlation({name: each[:2] for name, each in straight.items()}, "x", "forgetting", within=False)
    assert few is not None and few.low is few.high is None
    assert correlation(straight | {"x": np.ones(40)}, "x", "forgetting", within=False) is None
    # Ten tasks of one run are no ten runs: the interval of three runs is as wide as the runs are apart.
    tied = values(
        run=[0] * 10 + [1] * 10 + [2] * 10,
        method=[0] * 30,
        x=[0.0] * 10 + [1.0] * 10 + [2.0] * 10,
        forgetting=[1.0] * 20 + [0.0] * 10,
    )
    wide = correlation(tied, "x", "forgetting", within=False)
    assert wide is not None and wide.low is not None and wide.high is not None and wide.high - wide.low > 0.1


def test_within_methods_a_difference_of_methods_does_not_count() -> None:
    one = values(run=range(6), method=[0] * 3 + [1] * 3, x=[1.0, 2, 3, 11, 12, 13], forgetting=[3.0, 2, 1, 13, 12, 11])
    over, within = (correlation(one, "x", "forgetting", within=inside) for inside in (False, True))
    assert over is not None and over.value > 0.5 and within is not None and within.value == pytest.approx(-1)


def test_what_does_not_vary_within_methods_is_no_rounding() -> None:
    one = values(run=range(6), method=[0] * 3 + [1] * 3, x=[0.1] * 3 + [0.7] * 3, forgetting=[3.0, 2, 1, 13, 12, 11])
    assert correlation(one, "x", "forgetting", within=False) is not None
    assert correlation(one, "x", "forgetting", within=True) is None


def compared(*words: object) -> Any:
    return CliRunner().invoke(main, [*map(str, words)])


def test_the_command(tmp_path: Path) -> None:
    for seed in range(4):
        made(tmp_path, "nusa", seed, [3.0 + seed, 1.0 + seed / 2], [7.0, 3.0 + seed, 1.0 + seed / 2])
    done = compared(tmp_path, "--predictors", "--format", "markdown")
    assert done.exit_code == 0, done.output
    assert "| strain: strain | 1.00 \\[1.00, 1.00\\] |" in done.output.split("what goes with transfer loss")[0]
    assert "| 4 | 8 |" in done.output
    assert "methods as --baseline" not in compared(tmp_path, "--predictors").output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--per-task",), "--predictors: goes without --per-task"),
        (("--baseline", "nusa"), "--predictors: goes without --baseline"),
        (("--frontier",), "--predictors: goes without --frontier"),
        (("--format", "csv"), "--predictors --format csv: has no csv"),
        ((), "--predictors: no run has a measurement after each task"),
    ],
)
def test_wrong_input_is_one_line(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    write_run(tmp_path / "run", np.full((4, 3), 50.0), TASKS)
    done = compared(tmp_path, "--predictors", *words)
    assert done.exit_code == 2 and done.stderr.startswith(f"error: {message}") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "tables",
    [[], 3, {"strain": 3}, {"strain": {"keys": ["after"]}}, {"strain": {"keys": 3, "columns": []}}, {"strain": {}}],
)
def test_a_folder_with_damaged_tables_is_left_out_by_name(tmp_path: Path, tables: Any) -> None:
    for seed in range(4):
        made(tmp_path, "nusa", seed, [3.0 + seed, 1.0], [7.0, 3.0 + seed, 1.0])
    place = tmp_path / "nusa" / "seed3" / "run.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"tables": tables}))
    done = compared(tmp_path, "--predictors")
    assert done.exit_code == 0 and "seed3" in done.stderr and "damaged, tables" in done.stderr, done.output
    assert "1.00 [" in done.stdout


def test_a_table_without_rows_has_no_file(tmp_path: Path) -> None:
    for seed in range(4):
        made(tmp_path, "nusa", seed, [3.0 + seed, 1.0], [7.0, 3.0 + seed, 1.0])
    (tmp_path / "nusa" / "seed3" / "strain.csv").unlink()
    done = compared(tmp_path, "--predictors", "--format", "markdown")
    assert done.exit_code == 0 and "| 3 | 6 |" in done.output, done.output
