"""The columns of single studies, beside plain formulas on written runs."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.comparison.collection import Runs, load
from benchmarks.runs.read import Run, read
from benchmarks.studies import (
    base,
    correlation,
    micro_or_real,
    orthogonality,
    position,
    rho,
    saturation,
    shift,
    svd_cost,
)
from tests.benchmarks.studies.made import Settings, made, measured
from tests.run_folders import RANK, rank_rows, write_csv, write_run


STATES = np.array([[50.0, 40.0], [70.0, 38.0], [64.0, 60.0]])


def written(folder: Path, states: np.ndarray, tasks: list[str], **settings: object) -> Run:
    write_run(folder, states, tasks, **settings)  # type: ignore[arg-type]
    write_csv(folder / "rank.csv", RANK.split(","), rank_rows(len(tasks), trained=True, blocks=2))
    return read(folder)


def test_rho_reads_both_tasks_and_the_directions_of_their_updates(tmp_path: Path) -> None:
    run = written(tmp_path / "run", STATES, ["a", "b"], rank=200)
    found = {column.heading: column.of(run) for column in rho.COLUMNS}
    null = run.rank[run.rank["after"] == 1]["null_directions"]
    assert found["directions, task 2"] == pytest.approx(np.minimum(null, 200).mean()) and (null > 200).any()
    assert [value for name, value in found.items() if not name.startswith("directions")] == [
        70.0,
        60.0,
        64.0,
        6.0,
        38.0,
    ]


def test_saturation_reads_each_round(tmp_path: Path) -> None:
    names = ["a", "b", "a (2)", "b (2)"]
    states = np.array([[50, 40], [70, 38], [64, 60], [75, 55], [66, 62]])[:, [0, 1, 0, 1]].astype(float)
    run = written(tmp_path / "run", states, names)
    assert saturation.in_round(run) == 2
    rounds = [{column.heading: column.of(run) for column in saturation.columns(turn)} for turn in (0, 1, 2)]
    assert [each["accuracy"] for each in rounds] == [45.0, 62.0, 64.0]
    assert [each["learning accuracy"] for each in rounds] == [None, 65.0, 68.5]
    assert [each["lost within the round"] for each in rounds] == [None, 3.0, 4.5]
    last = run.rank[run.rank["after"] == 4]["null_directions"]
    assert (rounds[2]["null directions"], rounds[2]["of the fewest"]) == (pytest.approx(last.mean()), last.min())


def test_shift_reads_against_zero_shot(tmp_path: Path) -> None:
    run = written(tmp_path / "run", STATES, ["a", "b"])
    rows = [
        [after, "micro-pairs", metric, 60 - after * fall] for after in range(3) for metric, fall in (("x", 1), ("y", 2))
    ]
    write_csv(tmp_path / "run" / "probes.csv", ["after", "probe", "metric", "value"], rows)
    (run,) = load([tmp_path])
    found = {column.heading: column.of(run) for column in shift.COLUMNS}
    assert (found["zero-shot"], found["Transfer lost"], found["Last gained"]) == (45.0, 40.0 - 38.0, 62.0 - 45.0)
    assert found["pretraining lost"] == pytest.approx((2 + 4) / 2)


def test_orthogonality_has_a_row_for_each_method_and_space(tmp_path: Path) -> None:
    left, right = orthogonality.tables(made(base.find("orthogonality"), tmp_path))
    assert left.title == "interference, left" and right.header[-1] == "chance"
    assert len(left.rows) == len(orthogonality.METHODS) + len(orthogonality.SPACES)
    assert {row[3].text for row in left.rows} == {"1.0e-02 [1.0e-02, 1.0e-02]"}
    assert {row[3].text for row in right.rows} == {"2.0e-02 [2.0e-02, 2.0e-02]"}


def test_position_fits_the_shape_over_the_deciles(tmp_path: Path) -> None:
    found = [3.0 + 2.0 * ((decile - 5.5) / 4.5) ** 2 - 1.5 * (decile - 5.5) / 4.5 for decile in position.DECILES]
    assert position.bend(position.DECILES, found) == pytest.approx((2.0, -1.5))
    assert position.bend(position.DECILES[1:], found[1:]) == pytest.approx((2.0, -1.5))  # without the first too
    each, shape, *_ = position.tables(made(base.find("position"), tmp_path))
    assert [row[:2] for row in [tuple(cell.text for cell in row) for row in each.rows]][:4] == [
        ("1", "0.001"), ("1", "0.003"), ("1", "0.01"), ("2", "0.003"),
    ]  # fmt: skip
    assert [row[0].text for row in shape.rows] == [
        "0.01",
        "0.03",
        "0.1",
    ]  # 0.001 and 0.003 are left out, which few deciles have


def test_correlation_reads_both_tasks_and_orders_the_pairs(tmp_path: Path) -> None:
    named = base.find("correlation")

    def states(given: Settings) -> np.ndarray:
        """The first task loses a point for each place of its pair among all pairs by their names."""
        lost = float(sorted(correlation.PAIRS).index(given["order"]))
        return np.array([[50.0, 40.0], [70.0, 37.0], [70.0 - lost, 60.0]])

    runs = made(named, tmp_path, states)
    nusa, _, table = correlation.tables(runs, measured(named))
    assert [column.of(runs[0]) for column in correlation.COLUMNS] == pytest.approx(
        [sorted(correlation.PAIRS).index(runs[0].config["order"]), 3.0, 0.015, 0.3]
    )
    assert sorted(row[0].text for row in nusa.rows) == sorted(correlation.PAIRS)
    forgetting = next(row for row in table.rows if row[1].text == "forgetting")
    assert forgetting[2].value == pytest.approx(1) and forgetting[3].value == pytest.approx(
        -1
    )  # names the other way round
    assert next(row for row in table.rows if row[1].text == "lost Transfer")[2].text == "–"  # it does not vary


def test_micro_or_real_has_the_published_shares_and_a_command_for_each_study() -> None:
    spectra, sensitivity, commands = micro_or_real.tables(Runs([]), measured(base.find("micro-or-real")))
    assert [row[2].text.partition(" ")[0] for row in spectra.rows] == ["51.8", "50.0", "50.0", "57.9", "60.0", "60.0"]
    none, first, *_ = sensitivity.rows
    mean = 8 + float(np.mean(base.SEEDS))
    assert [none[4].value, first[4].value] == pytest.approx([mean, mean - 2.5])
    assert [row[0].text for row in commands.rows] == sorted(base.questions())
    assert all(row[1].text.endswith("--model ViT-B-16-quickgelu --pretrained openai") for row in commands.rows)


def test_svd_cost_sets_the_approximations_beside_the_exact_runs(tmp_path: Path) -> None:
    named = base.find("svd-cost")

    def states(given: Settings) -> np.ndarray:
        """An approximate tail ends a point lower."""
        return STATES - (np.arange(3) == 2)[:, None] * (given["strategy"] != "nusa")

    timed, scores = svd_cost.tables(made(named, tmp_path, states), measured(named))
    assert [[cell.text for cell in row] for row in timed.rows] == [
        ["ViT-B-16", "svd", "20.00", "0.990"], ["ViT-B-16", "tail by inverse, power 0", "2.00", "0.100"],
        ["ViT-H-14", "svd", "20.00", "–"], ["ViT-H-14", "tail by inverse, power 0", "2.00", "–"],
    ]  # fmt: skip
    found = {tuple(cell.text for cell in row[:3]): dict(zip(scores.header, row, strict=True)) for row in scores.rows}
    assert found["nusa", "–", "–"]["squared sine"].value == 0
    approximate = found["studies:approximate_tail", "complement", "2"]
    assert approximate["squared sine"].value == pytest.approx(0.1)
    assert approximate["Last, less exact"].value == pytest.approx(-1)
    assert approximate["forgetting, less exact"].value == pytest.approx(1)
    untimed = [row for row in measured(named) if "timed" not in row]
    (only,) = svd_cost.tables(made(named, tmp_path / "again"), untimed)
    assert only.title == "task known"
