"""The metrics reproduce the published figures, and an unmeasured cell never passes for a zero."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.comparison.published import values
from benchmarks.runs.metrics import summarise


ZSCL = Path(__file__).parents[2] / "data" / "zscl"
METHODS = ("Continual-FT", "LwF", "iCaRL", "LwF-VR", "WiSE-FT", "ZSCL* (no L2 term)", "ZSCL")
NAMES = ("transfer", "avg", "last", "forgetting", "zero_shot")
WORKED = np.array([[50.0, 55, 60], [90, 60, 70], [80, 85, 65], [75, 70, 95]])


def printed() -> list[tuple[str, str, str]]:
    """Matrix, order and method as `benchmarks/comparison/published.csv` names them."""
    return [
        (f"order{number}_{place}", order, method)
        for number, order in ((1, "I"), (2, "II"))
        for place, method in enumerate(METHODS, start=1)
    ]


def published_states(matrix: str) -> np.ndarray:
    """(12, 11) percent; the published matrices have no row for the untrained model."""
    order, _, number = matrix.partition("_")
    table = np.loadtxt(ZSCL / f"{order}.csv", delimiter=",", skiprows=1)
    accuracy = table[table[:, 0] == int(number), 1:]
    return np.vstack([np.full(accuracy.shape[1], np.nan), accuracy])


def published_tasks(order: str) -> list[str]:
    """The names of the data sets in `order1` or `order2`."""
    return (ZSCL / f"{order}.csv").read_text().partition("\n")[0].split(",")[1:]


def by_loops(states: np.ndarray) -> dict[str, list[float]]:
    """The per-task figures, spelled out cell by cell with the tasks counted from 1 as in the papers."""
    tasks = states.shape[1]
    figures: dict[str, list[float]] = {"transfer": [], "avg": [], "forgetting": []}
    for i in range(1, tasks + 1):
        column = [states[j][i - 1] for j in range(1, tasks + 1)]
        figures["avg"].append(sum(column) / tasks)
        if i > 1:
            figures["transfer"].append(sum(column[: i - 1]) / (i - 1))
        if i < tasks:
            figures["forgetting"].append(column[i - 1] - column[tasks - 1])
    return figures


def test_worked_example() -> None:
    summary = summarise(WORKED)
    assert summary["transfer"] == pytest.approx(63.75)
    assert summary["avg"] == pytest.approx(76.67, abs=0.005)
    assert summary["last"] == 80
    assert summary["forgetting"] == 15
    assert summary["zero_shot"] == 55
    per_task = summary["per_task"]
    assert per_task["transfer"] == [None, 60, 67.5]
    assert per_task["avg"] == pytest.approx([81.67, 71.67, 76.67], abs=0.005)
    assert per_task["last"] == [75, 70, 95]
    assert per_task["forgetting"] == [15, 15, None]
    assert per_task["zero_shot"] == [50, 55, 60]


@pytest.mark.parametrize(("matrix", "order", "method"), printed(), ids=lambda name: name)
def test_published_matrices(matrix: str, order: str, method: str) -> None:
    summary = summarise(published_states(matrix))
    for name in ("Transfer", "Avg", "Last"):
        assert f"{summary[name.lower()]:.1f}" == values()["MTIL full-shot", order, method, name, "mean"].value, name
    assert summary["zero_shot"] is None


@pytest.mark.parametrize("tasks", [2, 3, 11, 33])
def test_plain_loops_agree(tasks: int) -> None:
    states = np.random.default_rng(tasks).uniform(0, 100, (tasks + 1, tasks))
    summary = summarise(states)
    for name, spelled in by_loops(states).items():
        assert [figure for figure in summary["per_task"][name] if figure is not None] == pytest.approx(spelled)
        assert summary[name] == pytest.approx(sum(spelled) / len(spelled))


def test_one_task_has_no_transfer_and_no_forgetting() -> None:
    summary = summarise(np.array([[40.0], [70.0]]))
    assert {name: summary[name] for name in NAMES} == {
        "transfer": None,
        "avg": 70,
        "last": 70,
        "forgetting": None,
        "zero_shot": 40,
    }
    assert summary["per_task"]["transfer"] == summary["per_task"]["forgetting"] == [None]


@pytest.mark.parametrize(
    ("cell", "spoiled"),
    [
        ((0, 1), {"zero_shot"}),
        ((1, 2), {"transfer", "avg"}),
        ((1, 0), {"avg", "forgetting"}),
        ((2, 0), {"avg"}),
        ((3, 0), {"avg", "last", "forgetting"}),
        ((3, 2), {"avg", "last"}),
    ],
)
def test_an_unmeasured_cell_spoils_what_needs_it_and_nothing_else(cell: tuple[int, int], spoiled: set[str]) -> None:
    states = WORKED.copy()
    states[cell] = np.nan
    summary = summarise(states)
    assert {name for name in NAMES if summary[name] is None} == spoiled
    whole = summarise(WORKED)
    for name in NAMES:
        for task, figure in enumerate(summary["per_task"][name]):
            touched = name in spoiled and task == cell[1]
            assert figure == (None if touched else whole["per_task"][name][task])


def test_nothing_measured_and_a_stream_cut_short() -> None:
    assert all(summarise(np.full((4, 3), np.nan))[name] is None for name in NAMES)
    cut = WORKED.copy()
    cut[3] = np.nan
    assert summarise(cut)["transfer"] == 63.75
    assert summarise(cut)["last"] is None


def test_plain_json_at_full_precision() -> None:
    summary = summarise(published_states("order1_7"))
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert tuple(summary) == (*NAMES, "per_task")
    assert tuple(summary["per_task"]) == NAMES
    assert all(type(figure) is float for figure in summary["per_task"]["last"])
    assert summary["last"] != round(summary["last"], 6)


@pytest.mark.parametrize("shape", [(3, 3), (1, 0), (4,), (5, 3)])
def test_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(T\+1, T\)"):
        summarise(np.zeros(shape))


def test_needs_numpy_only() -> None:
    heavy = "torch", "avalanche", "pandas", "matplotlib"
    code = f"import sys, benchmarks.runs.metrics; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
