"""The three sentences at the top of the report say what the runs show, and no more."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.comparison.findings import findings
from benchmarks.comparison.sorting import sort
from benchmarks.runs.folder import find
from tests.run_folders import write_run


TASKS = ["one", "two"]


def write(root: Path, strategy: str, values: dict[int, float], **changed: Any) -> None:
    """A run for each seed: zero-shot has 40 on both tasks, and every later accuracy is the seed's value."""
    for seed, value in values.items():
        states = np.array([[40.0, 40], [value, value], [value, value]])
        write_run(root / f"{strategy}{seed}", states, TASKS, strategy, seed, **changed)


def said(root: Path) -> list[str]:
    (group,) = sort(find([root]).folders).groups
    return findings(group)


def test_the_leader_its_lead_and_its_interval(tmp_path: Path) -> None:
    write(tmp_path, "lora", {1: 60, 2: 61, 3: 62})
    write(tmp_path, "nusa", {1: 50.0, 2: 50.8, 3: 52.2}, cost={"total_seconds": {"training": 30.0, "evaluation": 1.0}})
    lead, transfer, expense = said(tmp_path)
    # Differences 10.0, 10.2, 9.8: mean 10, deviation 0.2, Student's t of two degrees of freedom 4.303.
    value, gap = "LoRA leads with an Avg of 61.0 ± 1.0 % (task known)", "10.0 points above NuSA-CL, the second"
    assert lead == f"{value}, {gap} (interval 9.5 to 10.5, n = 3)."
    assert transfer.startswith(
        "NuSA-CL has a Transfer of 51.0 % (task known), 11.0 points above the model before any training"
    )
    front = "the Pareto front of Avg against training time is NuSA-CL (30 s for 51.0 %), LoRA (60 s for 61.0 %)."
    assert "directions under NuSA-CL, and ends between" in expense and expense.endswith(front)


def test_what_lies_within_the_spread_is_said(tmp_path: Path) -> None:
    write(tmp_path, "lora", {1: 60, 2: 50, 3: 41})
    write(tmp_path, "nusa", {1: 50, 2: 55, 3: 40})
    lead, transfer, _ = said(tmp_path)
    assert "which is within the spread of the runs" in lead and "which is within the spread of the runs" in transfer


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({}, "NuSA-CL, the only ranked method, has an Avg of 50.0 % (task known)."),
        (
            {"zeroshot": 1},
            "50.0 % (task known), 10.0 points above Zero-shot, in a single run, so that nothing is known of its",
        ),
        ({"zeroshot": 2}, "nothing is known of a difference to Zero-shot, since no run has its seed and order."),
        ({"lora": 1}, "10.0 points above LoRA, the second, in a single run, so that nothing is known of its spread."),
    ],
)
def test_one_method_or_one_seed_claims_nothing_more(tmp_path: Path, others: dict[str, int], words: str) -> None:
    write(tmp_path, "nusa", {1: 50})
    for strategy, seed in others.items():
        cost = {"trained_parameters": [0, 0]} if strategy == "zeroshot" else {}
        write(tmp_path, strategy, {seed: 40}, cost=cost)
    lead, transfer, expense = said(tmp_path)
    assert words in lead and " ± " not in lead and "in a single run" in transfer
    assert ("the training time is 60 s" in expense) == ("lora" not in others)


def test_without_what_a_sentence_needs_it_is_left_out(tmp_path: Path) -> None:
    for number, strategy in enumerate(("zeroshot", "joint")):
        write(tmp_path / "bounds", strategy, {1: 50.0}, cost={"trained_parameters": [number, 0]})
    assert said(tmp_path / "bounds") == ["No method is ranked: none learned task after task in every order."]
    write_run(tmp_path / "single" / "run", np.array([[40.0], [50]]), TASKS[:1])  # one task: no Transfer
    lead, expense = said(tmp_path / "single")
    assert "an Avg of 50.0 %" in lead and "training time" in expense


def test_times_of_different_machines_are_not_compared(tmp_path: Path) -> None:
    write(tmp_path, "nusa", {1: 50})
    write(tmp_path, "lora", {1: 40})
    file = tmp_path / "lora1" / "run.json"
    file.write_text(file.read_text().replace("a processor", "another processor"))
    assert "Pareto front of Avg against trained parameters" in said(tmp_path)[-1]
