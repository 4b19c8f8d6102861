"""The whole trade-off of a method: its front, its area, and what it has at a given learning accuracy."""

import re

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.compare import main
from benchmarks.comparison import frontier
from benchmarks.comparison.frontier_tables import levels, sections
from benchmarks.comparison.metric_columns import metric
from benchmarks.comparison.sorting import sort
from benchmarks.config.errors import UserError
from benchmarks.runs.folder import find
from tests.run_folders import write_run


TASKS = ["arrows", "clocks", "scans"]
BEFORE = 40.0  # zero-shot accuracy on every task


def states(learned, transfer, kept=50.0):
    """(4, 3): every task at 40 before training, `learned` when just learned, `transfer` before, `kept` afterwards."""
    found = np.full((4, 3), BEFORE)
    for after in (1, 2, 3):
        found[after] = [kept if task < after - 1 else transfer for task in range(3)]
        found[after, after - 1] = learned
    return found


def made(root, points, strategy="lora", **changed):
    """Runs of one strategy: by learning rate and seed, the accuracy learned and Transfer."""
    for (rate, seed), (learned, transfer) in points.items():
        name = f"{strategy}-{rate}-{seed}-{changed.get('rank')}"
        write_run(root / name, states(learned, transfer), TASKS, strategy, seed, lr=rate, **changed)


def group(root):
    (found,) = sort(find([root]).folders).groups
    return found


def line(root):
    (found,) = frontier.lines(group(root), ("lr",))
    return found


def test_the_front_is_what_nothing_beats():
    random = np.random.default_rng(1)
    across, up = random.integers(0, 12, (2, 40)).astype(float)
    points = list(zip(across, up, strict=True))
    plain = {p for p in points if not any(q[0] >= p[0] and q[1] >= p[1] and q != p for q in points)}
    found = frontier.front(across, up)
    assert {points[index] for index in found} == plain
    assert len(found) == len(plain)
    assert list(across[found]) == sorted(across[found])


def test_the_area_is_the_share_of_the_rectangle_that_is_covered():
    """Against counting on a fine grid, with points worse than zero-shot and beaten ones among them."""
    random = np.random.default_rng(2)
    across, up = random.uniform(20, 90, 9), random.uniform(5, 45, 9)
    grid = np.arange(40, 100, 0.01) + 0.005
    heights = [max([b for a, b in zip(across, up, strict=True) if a >= x], default=0.0) for x in grid]
    plain = 100 * np.mean(heights) / 42.0
    assert frontier.area(across, up, 40.0, 42.0) == pytest.approx(plain, abs=0.02)
    assert frontier.area(np.array([40.0]), np.array([42.0]), 40.0, 42.0) == 0
    assert frontier.area(np.array([100.0]), np.array([42.0]), 40.0, 42.0) == pytest.approx(100)
    assert np.isnan(frontier.area(np.array([50.0]), np.array([0.0]), 40.0, 0.0))


def test_values_between_points_and_never_beyond(tmp_path):
    made(tmp_path, {(1e-3, 42): (60, 39), (1e-2, 42): (70, 31), (1e-1, 42): (50, 20)})
    found = line(tmp_path)
    assert [point.values for point in found.points] == [("0.001",), ("0.01",), ("0.1",)]
    assert [found.points[index].values for index in found.front] == [("0.001",), ("0.01",)]
    transfer = metric("known", "transfer").of
    assert found.at([62.5], transfer).tolist() == [pytest.approx([37.0])]
    assert np.isnan(found.at([59.9, 70.1], transfer)).all()
    assert found.reach == pytest.approx((60, 70))
    # The rectangle is 60 wide and 40 high; one point covers 20 x 39, the other 10 x 31 more.
    assert found.areas.tolist() == pytest.approx([100 * (20 * 39 + 10 * 31) / (60 * 40)])


def test_each_seed_has_its_own_values_and_the_interval_is_over_seeds(tmp_path):
    made(tmp_path / "a", {(1e-3, s): (60, 36 + s) for s in (1, 2, 3)} | {(1e-2, s): (70, 30 + s) for s in (1, 2, 3, 4)})
    made(tmp_path / "b", {(rate, s): (65, 30 + s + s % 2) for s in (1, 2, 3) for rate in (1e-3,)}, "milora")
    a, b = sorted(frontier.lines(group(tmp_path), ("lr",)), key=lambda each: each.method.strategy)
    transfer = metric("known", "transfer").of
    assert [seed for _, seed in a.samples] == [1, 2, 3]  # the fourth has one point alone
    assert a.at([65], transfer).tolist() == [pytest.approx([34.0, 35.0, 36.0])]
    found = frontier.difference(b, a, b.at([65], transfer)[0], a.at([65], transfer)[0])
    # Differences: -2, -3, -2; Student's t for two degrees of freedom is 4.3027.
    assert found is not None
    assert (found.mean, found.count) == (pytest.approx(-7 / 3), 3)
    assert found.half_width == pytest.approx(4.302653 * np.std([-2, -3, -2], ddof=1) / 3**0.5)
    assert frontier.difference(a, b, a.at([61], transfer)[0], b.at([61], transfer)[0]) is None


def test_zero_shot_is_of_all_points_and_of_points_that_learn_the_same_the_best_counts(tmp_path):
    made(tmp_path / "a", {(1e-3, 42): (60, 39), (1e-2, 42): (60, 31), (1e-2, 43): (70, 31), (1e-3, 43): (60, 39)})
    found = line(tmp_path / "a")
    assert found.at([60.0], metric("known", "transfer").of)[0].tolist() == pytest.approx([39.0, 39.0])
    made(tmp_path / "b", {(1e-3, 42): (60, 39)})
    low = states(70, 31)
    low[0] -= 5
    write_run(tmp_path / "b" / "low", low, TASKS, "lora", 42, lr=1e-2)
    assert line(tmp_path / "b").why_not == "its values have different zero-shot accuracies"


def test_variants_are_lines_of_their_own_and_any_setting_may_vary(tmp_path):
    made(tmp_path, {(1e-3, 42): (60, 39), (1e-2, 42): (70, 31)}, rank=8)
    made(tmp_path, {(1e-3, 42): (62, 38), (1e-2, 42): (71, 30)}, rank=32)
    made(tmp_path, {(1e-3, 42): (55, 39)}, "zeroshot", cost={"trained_parameters": [0, 0, 0]})
    found = {each.method.label: each for each in frontier.lines(group(tmp_path), ("lr",))}
    assert set(found) == {"LoRA rank=8", "LoRA rank=32"}  # without zero-shot, which learns nothing
    ranks = {each.method.label: each for each in frontier.lines(group(tmp_path), ("rank",))}
    assert set(ranks) == {"LoRA lr=0.001", "LoRA lr=0.01"}
    assert [point.values for point in ranks["LoRA lr=0.01"].points] == [("8",), ("32",)]
    (both,) = frontier.lines(group(tmp_path), ("lr", "rank"))
    assert (both.method.label, len(both.points)) == ("LoRA", 4)
    with pytest.raises(UserError, match=r"--along l2: no method of stream micro.* has such a setting"):
        frontier.lines(group(tmp_path), ("lr", "l2"))


def test_levels_are_round_and_reached_by_two(tmp_path):
    made(tmp_path, {(1e-3, 42): (51, 39), (1e-2, 42): (78, 31)})
    made(tmp_path, {(1e-3, 42): (57, 39), (1e-2, 42): (90, 31)}, "milora")
    assert levels(frontier.lines(group(tmp_path), ("lr",))) == [60, 65, 70, 75]
    (table, *_) = sections([group(tmp_path)], ("lr",), None)[0].tables
    assert [cell.text for cell in table.rows[0][:4]] == ["MiLoRA", "0.001 to 0.01 (2)", "57.0 to 90.0", "1"]


def test_lines_over_other_seeds_are_pointed_out(tmp_path):
    made(tmp_path, {(rate, s): (60, 39) for rate in (1e-3, 1e-2) for s in (1, 2)})
    made(tmp_path, {(rate, 1): (61, 38) for rate in (1e-3, 1e-2)}, "milora")
    (section,) = sections([group(tmp_path)], ("lr",), None)
    assert "do not all have the same seeds and orders, so none is marked as the best" in " ".join(section.notes)
    assert not any(table.is_marked for table in section.tables)


def compared(*words):
    return CliRunner().invoke(main, [*map(str, words)])


def test_the_command(tmp_path):
    made(tmp_path, {(rate, s): (60 + 500 * rate, 39 - 200 * rate - s / 2) for rate in (1e-3, 1e-2) for s in (42, 43)})
    made(
        tmp_path,
        {(rate, s): (60 + 600 * rate, 38 - 200 * rate - s / 3) for rate in (1e-3, 1e-2) for s in (42, 43)},
        "milora",
    )
    made(tmp_path, {(1e-3, 42): (61, 39)}, "joint", cost={"trained_parameters": [9, 0, 0]})
    done = compared(tmp_path, "--frontier", "--baseline", "lora", "--format", "markdown")
    assert done.exit_code == 0, done.output
    assert "No line: Joint (no learning accuracy)." in done.output
    assert "difference to LoRA in Transfer at equal learning accuracy" in done.output
    shown = compared(tmp_path, "--frontier").output
    assert shown.endswith("methods as --baseline names them: milora, lora\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--along", "lr"), "--along: goes with --frontier"),
        (("--frontier", "--along", "lr,lr"), "expected settings with commas"),
        (("--frontier", "--along", ""), "expected settings with commas"),
        (("--frontier", "--along", "rank"), "no method of stream micro.* has several values of it"),
        (("--frontier", "--per-task"), "goes without --per-task"),
        (("--frontier", "--published"), "goes without --published"),
        (("--frontier", "--format", "csv"), "--format csv: has no csv"),
        (("--frontier", "--along", "rnk"), 'no method of stream micro.* has such a setting .did you mean "rank"'),
        (("--frontier", "--baseline", "nusa"), "--baseline nusa: no such method; there are 'lora'"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, words, message):
    made(tmp_path, {(1e-3, 42): (60, 39), (1e-2, 42): (70, 31)})
    done = compared(tmp_path, *words)
    assert done.exit_code == 2
    (found,) = done.stderr.splitlines()
    assert found.startswith("error: ")
    assert re.search(message, found), found


def test_a_group_without_a_trade_off_does_not_hide_the_others(tmp_path):
    made(tmp_path / "a", {(1e-3, 42): (60, 39), (1e-2, 42): (70, 31)})
    made(tmp_path / "b", {(1e-3, 42): (60, 39), (1e-2, 42): (70, 31)}, shots=5, cost={"trained_parameters": [9, 0, 0]})
    made(tmp_path / "c", {(1e-3, 42): (60, 39)}, shots=7)
    done = compared(tmp_path, "--frontier", "--format", "markdown")
    assert done.exit_code == 0, done.output
    assert "| LoRA | 0.001 to 0.01 (2) |" in done.output
    assert "no line: LoRA (no learning accuracy)" in done.output
    assert "no method of stream micro, 3 tasks, model micro, 7 shots has several values of it" in done.output


def test_accuracies_that_were_not_measured_or_are_zero(tmp_path):
    """Zero-shot's Transfer 0: there is no rectangle. No accuracy before training: there is no corner."""
    for name, before in (("zero", 0.0), ("none", np.nan)):
        for rate, (learned, transfer) in {1e-3: (60, 9), 1e-2: (70, 1)}.items():
            found = states(learned, transfer)
            found[0] = before
            write_run(tmp_path / name / str(rate), found, TASKS, "lora", lr=rate)
    done = compared(tmp_path / "zero", "--frontier", "--format", "markdown")
    assert "| LoRA | 0.001 to 0.01 (2) | 60.0 to 70.0 | 1 | – |" in done.output
    done = compared(tmp_path / "none", "--frontier")
    assert done.exit_code == 2 and "LoRA (no accuracy before training)" in done.stderr


def test_no_seed_in_common(tmp_path):
    made(tmp_path, {(1e-3, 42): (60, 39), (1e-2, 43): (70, 31)})
    done = compared(tmp_path, "--frontier")
    assert done.exit_code == 2
    assert "LoRA (no seed in which all its values ran)" in done.stderr
