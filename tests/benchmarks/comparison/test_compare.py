"""`python -m benchmarks.compare`: tables of run folders, beside published values, and what is said of bad folders."""

import csv
import io
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from benchmarks.compare import main
from benchmarks.comparison import published
from benchmarks.comparison.formats.latex import numbers
from benchmarks.comparison.tables import Cell
from benchmarks.config import registry
from benchmarks.config.registry import strategy_of
from benchmarks.config.resolve import settings_of
from benchmarks.config.settings import COMMON_NAMES
from tests.benchmarks.runs.test_metrics import printed, published_states, published_tasks
from tests.conftest import ROOT
from tests.run_folders import write_run


TASKS = ["one", "two", "three"]
# Student's t for 95 %, by degrees of freedom, from a printed table.
T = {1: 12.706, 2: 4.303, 3: 3.182}
OURS = {
    "Continual-FT": "finetune", "LwF": "lwf", "iCaRL": "icarl", "LwF-VR": "lwf_vr", "WiSE-FT": "wise_ft",
    "ZSCL* (no L2 term)": "zscl", "ZSCL": "zscl",
}  # fmt: skip


# By file, ways in which it may be damaged.
DAMAGE: dict[str, list[Callable[[str], str]]] = {
    "rank.csv": [lambda text: text[:-3], lambda text: text[: text.rindex("\n", 0, -90) + 1], lambda text: ""],
    "accuracy.csv": [lambda text: text.replace("\n2,5", "\n2,inf", 1), lambda text: text.replace("\n1,5", "\n1,500", 1)],
    "metrics.json": [lambda text: text[:-9]],
    "cost.json": [
        lambda text: text.replace("1000", '"many"'),
        lambda text: text.replace('"trained_parameters": [', '"trained_parameters": null, "x": ['),
        lambda text: text.replace('"training"', '"other"'),
        lambda text: text.replace("2000000000", "null"),
    ],
    "config.yaml": [lambda text: text.replace("seed: 9", "seed: x"), lambda text: text + "\t- [\n", lambda text: ""],
    "stream.json": [
        lambda text: text.replace('"known"', "[1]"), lambda text: text.replace("100", "null"), lambda text: "[]",
    ],
    "run.json": [
        lambda text: text.replace('"finished"', "3"), lambda text: text.replace('"hardware": {', '"hardware": 3, "x": {'),
    ],
}  # fmt: skip


def compare(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def states(seed: int, base: float = 50.0, tasks: int = 3) -> np.ndarray:
    return base + np.random.default_rng(seed).uniform(0, 10, (tasks + 1, tasks))


def transfer(matrix: np.ndarray) -> float:
    """The mean of the columns' means above the diagonal, spelled out."""
    columns = [
        [matrix[row][task] for row in range(1, task + 1)] for task in range(1, matrix.shape[1])
    ]  # row 0 is zero-shot
    return sum(sum(column) / len(column) for column in columns) / len(columns)


def csv_rows(*arguments: object) -> list[dict[str, str]]:
    result = compare(*arguments, "--format", "csv")
    assert result.exit_code == 0, result.stderr
    return list(csv.DictReader(io.StringIO(result.stdout)))


def only(rows: list[dict[str, str]], **wanted: str) -> dict[str, str]:
    (row,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return row


def two_methods(root: Path) -> dict[str, list[np.ndarray]]:
    """NuSA-CL and LoRA, three seeds each."""
    made: dict[str, list[np.ndarray]] = {"nusa": [], "lora": []}
    for number, strategy in enumerate(made):
        for seed in (42, 43, 44):
            made[strategy].append(states(seed + 10 * number, base=50 - 5 * number))
            write_run(root / strategy / f"seed{seed}", made[strategy][-1], TASKS, strategy, seed)
    return made


def test_mean_and_standard_deviation_over_seeds(tmp_path: Path) -> None:
    made = two_methods(tmp_path)
    rows = csv_rows(tmp_path)
    for strategy, matrices in made.items():
        values = [transfer(matrix) for matrix in matrices]
        row = only(rows, method=strategy, metric="transfer", task_identity="known")
        assert float(row["mean"]) == pytest.approx(sum(values) / 3)
        assert float(row["standard_deviation"]) == pytest.approx(statistics.stdev(values))
        assert row["count"] == "3"
    text = compare(tmp_path).stdout
    row = only(rows, method="nusa", metric="last", task_identity="known")
    assert f"{float(row['mean']):.1f} ± {float(row['standard_deviation']):.1f} *" in text
    assert "over 3 seeds" in text


def test_paired_differences_with_their_interval(tmp_path: Path) -> None:
    made = two_methods(tmp_path)
    shutil.rmtree(tmp_path / "lora" / "seed44")  # that pair is gone, NuSA-CL's third seed counts for nothing here
    differences = [transfer(a) - transfer(b) for a, b in zip(made["nusa"][:2], made["lora"][:2], strict=True)]
    row = only(csv_rows(tmp_path, "--baseline", "lora"), metric="transfer minus lora", task_identity="known")
    assert float(row["mean"]) == pytest.approx(sum(differences) / 2)
    width = T[1] * statistics.stdev(differences) / math.sqrt(2)
    assert float(row["interval_half_width"]) == pytest.approx(width, rel=1e-3)
    assert row["count"] == "2"


def test_one_seed_claims_no_spread(tmp_path: Path) -> None:
    write_run(tmp_path / "a", states(1), TASKS)
    result = compare(tmp_path)
    assert "±" not in result.stdout and "one seed each, so no spread is known" in result.stdout


def test_orders_stand_apart_and_are_averaged_alike(tmp_path: Path) -> None:
    matrices = {}
    for order, tasks, seeds in (("I", TASKS, (1, 2)), ("II", TASKS[::-1], (1,))):
        for seed in seeds:
            matrices[order, seed] = states(seed + len(order))
            write_run(tmp_path / f"{order}{seed}", matrices[order, seed], tasks, seed=seed, order=order)
    write_run(tmp_path / "lora", states(9), TASKS, "lora", order="I")
    rows = csv_rows(tmp_path)
    first = (transfer(matrices["I", 1]) + transfer(matrices["I", 2])) / 2
    second = transfer(matrices["II", 1])
    row = only(rows, order="all", method="nusa", metric="transfer", task_identity="known")
    assert float(row["mean"]) == pytest.approx((first + second) / 2)
    assert float(row["standard_deviation"]) == pytest.approx(statistics.stdev([first, second]))
    assert not [row for row in rows if row["method"] == "lora" and row["order"] == "all"]
    assert "not run in every order: LoRA" in compare(tmp_path).stdout


def test_what_cannot_be_compared_has_tables_of_its_own(tmp_path: Path) -> None:
    write_run(tmp_path / "a", states(1), TASKS)
    write_run(tmp_path / "b", states(2), TASKS, model="ViT-B-32")
    write_run(tmp_path / "c", states(3), TASKS, shots=5)
    write_run(tmp_path / "d", states(4), ["one", "two", "four"])
    write_run(tmp_path / "e", states(5), TASKS, identity="unknown")
    text = compare(tmp_path, "--format", "markdown").stdout
    assert text.count("\n### ") + text.startswith("### ") == 5
    assert text.count("| NuSA-CL |") == 5 * 3


def test_methods_are_told_apart_by_the_settings_that_differ(tmp_path: Path) -> None:
    write_run(tmp_path / "a", states(1), TASKS, "lora", lr=0.001)
    write_run(tmp_path / "b", states(2), TASKS, "lora", lr=0.01)
    write_run(tmp_path / "c", states(3), TASKS, "nusa")
    text = compare(tmp_path, "--format", "markdown").stdout
    assert "| LoRA lr=0.001 |" in text and "| LoRA lr=0.01 |" in text and "| NuSA-CL |" in text
    only_one = compare(tmp_path, "--format", "markdown", "--setting", "lr=0.001").stdout
    assert "| LoRA |" in only_one and "NuSA" not in only_one
    ambiguous = compare(tmp_path, "--baseline", "lora")
    assert ambiguous.exit_code == 2 and "'lora lr=0.001', 'lora lr=0.01'" in ambiguous.stderr
    for name in ("lora lr=0.01", "LoRA lr=0.01", "nusa", "NuSA-CL"):
        assert compare(tmp_path, "--baseline", name).exit_code == 0
    assert csv_rows(tmp_path, "--strategy", "NuSA-CL") == csv_rows(tmp_path, "--strategy", "nusa")
    assert {row["method"] for row in csv_rows(tmp_path)} == {"lora lr=0.001", "lora lr=0.01", "nusa"}


def test_a_methods_name_and_rows_come_with_its_runs(tmp_path: Path) -> None:
    """Written by a version or a strategy file that is not here; another method may have taken the same name."""
    tasks = published_tasks("order1")
    published = {"LwF": {"settings": {"lr": 3.0}, "tolerance": 99.0, "from the future": 1}}
    about = {"name": "LoRA", "reference": "nobody", "colour": "#123456", "marker": "h", "published": published}
    run = write_run(tmp_path / "a", states(1, tasks=11), tasks, "stranger", stream="mtil", lr=3.0)
    written = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**written, "method": about}))
    write_run(tmp_path / "b", states(2, tasks=11), tasks, "lora", stream="mtil")
    write_run(tmp_path / "c", states(3, tasks=11), tasks, "unheard_of", stream="mtil")
    text = compare(tmp_path, "--published", "--format", "markdown").stdout
    assert "| LoRA (stranger) |" in text and "| LoRA (lora) |" in text and r"| unheard\_of |" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| LwF | original |")]
    assert "LoRA (stranger)" in row and "3 of 3 within 99.0 points" in row
    (run / "run.json").write_text(json.dumps({**written, "method": {**about, "colour": "red"}}))
    assert "run.json: damaged, colour: " in compare(tmp_path).stderr


def test_best_and_second_best_by_what_is_printed(tmp_path: Path) -> None:
    flat = {"nusa": 60.0, "lora": 60.04, "zscl": 59.0, "finetune": 50.0, "zeroshot": 90.0}
    for strategy, level in flat.items():
        cost = {"trained_parameters": [0, 0, 0]} if strategy == "zeroshot" else {}
        write_run(tmp_path / strategy, np.full((4, 3), level), TASKS, strategy, cost=cost)
    write_run(tmp_path / "joint", np.full((4, 3), 95.0), TASKS, "joint", cost={"trained_parameters": [9, 0, 0]})
    table = compare(tmp_path, "--format", "markdown").stdout
    assert table.index("| LoRA |") < table.index("| NuSA-CL |") < table.index("| ZSCL |")
    assert "| NuSA-CL | **60.0** | **60.0** | **60.0** |" in table
    assert "| LoRA | **60.0** | **60.0** | **60.0** |" in table
    assert "| ZSCL | *59.0* | *59.0* | *59.0* |" in table
    assert "| Zero-shot | 90.0 | 90.0 | 90.0 |" in table
    assert "| Joint | – | – | 95.0 | – | – |" in table


def test_left_out_and_said(tmp_path: Path) -> None:
    good = write_run(tmp_path / "good", states(1), TASKS)
    write_run(tmp_path / "running", states(2), TASKS, seed=1, status="running")
    write_run(tmp_path / "again", states(3), TASKS)
    for name, file in (
        ("cut", "accuracy.csv"),
        ("cost", "cost.json"),
        ("config", "config.yaml"),
        ("stream", "stream.json"),
    ):
        broken = write_run(tmp_path / name, states(4), TASKS, seed=5) / file
        broken.write_text(broken.read_text()[: 3 if file == "config.yaml" else -30])
    result = compare(tmp_path)
    assert result.exit_code == 0
    said = result.stderr.splitlines()
    assert len(said) == 6 and all(line.startswith("left out: ") for line in said)
    for words in ("running: running, not finished", "accuracy.csv", "cost.json", "config.yaml", "stream.json"):
        assert sum(words in line for line in said) == 1, words
    assert "same settings, order and seed as" in result.stderr
    assert "one seed each" in result.stdout and str(good) not in result.stdout
    only_bad = compare(tmp_path / "running")
    assert only_bad.exit_code == 2 and "error: nothing to compare: all are left out" in only_bad.stderr


@pytest.mark.parametrize(("file", "number"), [(file, number) for file in DAMAGE for number in range(len(DAMAGE[file]))])
def test_whatever_is_damaged_is_named_and_skipped(tmp_path: Path, file: str, number: int) -> None:
    write_run(tmp_path / "good", states(1), TASKS)
    broken = write_run(tmp_path / "bad", states(4), TASKS, seed=9) / file
    text = broken.read_text()
    broken.write_text(DAMAGE[file][number](text))
    assert broken.read_text() != text
    result = compare(tmp_path)
    assert result.exit_code == 0, result.output
    (said,) = result.stderr.splitlines()
    assert said.startswith("left out: ") and file in said
    assert "one seed each" in result.stdout


def test_a_metric_that_is_not_the_matrixs_is_said(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", states(1), TASKS)
    whole = json.loads((run / "metrics.json").read_text())
    for change, words in (
        ({"seen": {**whole["seen"], "avg": 1.0}}, "seen.avg is 1.00 there"),
        ({"per_task": {**whole["per_task"], "last": [1.0, 2.0, 3.0]}}, "per_task.last[0] is 1.00 there"),
        ({"last": "high"}, "last is no number there"),
        ({"agnostic": [1]}, "agnostic is no number there"),
        ({"avg": float("nan")}, "avg is nan there"),
    ):
        (run / "metrics.json").write_text(json.dumps({**whole, **change}))
        result = compare(run)
        assert result.exit_code == 0 and words in result.stderr, words


def test_settings_that_equal_one_and_zero_are_numbers(tmp_path: Path) -> None:
    write_run(tmp_path / "a", states(1), TASKS, "zscl", l2=1.0)
    write_run(tmp_path / "b", states(2), TASKS, "zscl", l2=0.0)
    assert "ZSCL l2=1.0" in compare(tmp_path).stdout and "ZSCL l2=0.0" in compare(tmp_path).stdout
    assert compare(tmp_path, "--setting", "l2=1.0").exit_code == 0


def test_runs_of_other_weights_or_references_are_told_apart(tmp_path: Path) -> None:
    for number, (name, value) in enumerate((("weights_sha256", "1" * 64), ("reference_sha256", "2" * 64), ("x", "3"))):
        run = write_run(tmp_path / str(number), states(number), TASKS)
        about = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps({**about, name: value}))
    text = compare(tmp_path, "--format", "markdown").stdout
    assert text.count("### ") == 2 and "weights 11111111" in text
    assert "| NuSA-CL references=22222222 |" in text and "| NuSA-CL references=none |" in text
    keys = [(row["weights_sha256"], row["method"], row["metric"], row["task_identity"]) for row in csv_rows(tmp_path)]
    assert len(set(keys)) == len(keys)


def _add(run: Path, **about: Any) -> None:
    file = run / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | about))


def test_runs_of_other_images_are_told_apart(tmp_path: Path) -> None:
    """A clean folder and its corrupted copy; a run of an older version joins where there is one stream only."""
    for seed, images in enumerate(("clean", "clean", "corrupt", "")):
        run = write_run(tmp_path / f"{seed}", states(seed), ["one", "two", "three"], seed=seed)
        _add(run, **({"stream_sha256": f"{images} and more"} if images else {}))
    both = [row for row in csv_rows(tmp_path) if row["metric"] == "avg" and row["task_identity"] == "known"]
    assert sorted((row["count"], row["stream_sha256"][:5]) for row in both) == [
        ("1", ""),
        ("1", "corru"),
        ("2", "clean"),
    ]
    shown = compare(tmp_path).stdout
    assert "images clean an" in shown and "images corrupt " in shown and "images unknown" in shown
    shutil.rmtree(tmp_path / "2")
    assert {row["count"] for row in csv_rows(tmp_path) if row["metric"] == "avg"} == {"3"}


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    write_run(tmp_path / "run", states(1), ["=one", "+two", "@three"], order="-2+3")
    for form in ("csv", "runs"):
        rows = csv.reader(
            io.StringIO(compare(tmp_path, "--format", form, *(["--per-task"] if form == "csv" else [])).stdout)
        )
        cells = [cell for row in rows for cell in row]
        assert "'-2+3" in cells and not any(cell.startswith(("=", "+", "@")) for cell in cells)


def test_versions_are_said_where_they_differ(tmp_path: Path) -> None:
    for seed, strategy in enumerate(("nusa", "nusa", "lora")):
        run = write_run(tmp_path / f"{seed}", states(seed), ["one", "two", "three"], strategy, seed=seed)
        _add(run, versions={"nusa-bench": "0.3.0"})
    assert "different versions" not in compare(tmp_path).stdout
    _add(tmp_path / "2", versions={"nusa-bench": "0.2.0"})
    for seed in (0, 1):
        _add(tmp_path / f"{seed}", figures_version={"method": 1 + seed, "shared": 1, "template": 1})
    shown = " ".join(compare(tmp_path).stdout.split())
    assert (
        "different versions of this project, whose results may differ. " in shown
        and "0.2.0: LoRA" in shown
        and "The means of NuSA-CL mix runs" in shown
    )


def test_what_a_stranger_wrote_does_not_reach_the_terminal(tmp_path: Path) -> None:
    write_run(tmp_path / "run", states(1), ["one\x1b[2J", "two", "three"], order="\x1b]0;title\x07red")
    done = compare(tmp_path, "--per-task")
    assert done.exit_code == 0 and "\\x1b]0;title\\x07red" in done.stdout and "one\\x1b[2J" in done.stdout
    assert not any(sign in done.output for sign in "\x1b\x07")


def cost(**changed: Any) -> str:
    """A `cost.json` with some wrong values."""
    seconds = {"training": 1.0, "evaluation": 1.0}
    right = {"trained_parameters": [1], "carried_bytes": [0], "peak_memory_bytes": 1, "total_seconds": seconds}
    return json.dumps(right | changed)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.yaml", "zzz: 2020-13-45\n"),
        ("config.yaml", "zzz: !!bool x\n"),
        ("config.yaml", f"zzz: {'[' * 50_000}{']' * 50_000}\n"),
        ("config.yaml", "seed: 1\nseed: 2\n"),
        ("run.json", "[" * 100_000 + "]" * 100_000),
        ("stream.json", "[" * 100_000 + "]" * 100_000),
        ("cost.json", '{"peak_memory_bytes": ' + "9" * 400 + "}"),
        ("metrics.json", "[" * 100_000 + "]" * 100_000),
        ("run.json", '{"status": "finished", "hardware": {"gpu": 5}}'),
        ("run.json", '{"status": "finished", "versions": {"nusa-bench": []}}'),
        ("config.yaml", f"zz: 0x{'f' * 5000}\n"),
        ("stream.json", '{"protocol": "p", "identity": "known", "tasks": [{"test": 0}, {"test": 0}, {"test": 0}]}'),
        ("cost.json", '{"total_seconds": {"training": 1.0, "evaluation": 1.0, "decomposition": "x"}}'),
        ("cost.json", cost(total_seconds={"training": -1.0, "evaluation": 1.0})),
        ("cost.json", cost(total_seconds={"training": float("inf"), "evaluation": 1.0})),
        ("cost.json", cost(carried_bytes=[])),
        ("cost.json", cost(peak_memory_bytes=-1)),
        ("probes.csv", "after,probe,metric,value\n0,places,top1,nan\n"),
        ("probes.csv", "after,probe\n0,places\n"),
    ],
    ids=range(19),
)
def test_a_folder_that_is_no_good_leaves_the_others_alone(file: str, change: str, tmp_path: Path) -> None:
    write_run(tmp_path / "good", states(1), ["one", "two", "three"], "lora")
    bad = write_run(tmp_path / "bad", states(2), ["one", "two", "three"])
    (bad / file).write_text((bad / file).read_text() + change if file == "config.yaml" else change)
    done = compare(tmp_path)
    assert done.exit_code == 0 and "LoRA" in done.stdout and "NuSA-CL" not in done.stdout
    assert f"left out: {bad / file}" in done.stderr


def test_a_pipe_or_an_unmeasured_end_is_left_out(tmp_path: Path) -> None:
    write_run(tmp_path / "good", states(1), ["one", "two", "three"], "lora")
    pipe = write_run(tmp_path / "pipe", states(2), ["one", "two", "three"])
    (pipe / "run.json").unlink()
    os.mkfifo(pipe / "run.json")
    part = states(3)
    part[-1, -1] = np.nan
    write_run(tmp_path / "part", part, ["one", "two", "three"])
    agnostic = write_run(tmp_path / "agnostic", states(4), ["one", "two", "three"], identity="unknown")
    table = (agnostic / "accuracy_agnostic.csv").read_text().rstrip()
    (agnostic / "accuracy_agnostic.csv").write_text(table[: table.rindex(",") + 1] + "\n")
    done = compare(tmp_path)
    assert done.exit_code == 0 and "LoRA" in done.stdout and "NuSA-CL" not in done.stdout
    assert "run.json: no plain file" in done.stderr and done.stderr.count("after the last task are missing") == 2


def test_the_matrix_wins_over_its_metrics(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", states(1), TASKS)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["avg"] = 99.0
    (run / "metrics.json").write_text(json.dumps(metrics))
    result = compare(run)
    right = states(1)[1:].mean()
    assert f"avg is 99.00 there, {right:.2f} by the accuracy matrices, which count" in result.stderr
    assert f"{right:.1f}" in result.stdout and "99.0" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["empty"], "empty: no run folder there"),
        (["run", "--strategy", "zscl"], "--strategy zscl: no run there has it; there are NuSA-CL, nusa"),
        (["run", "--setting", "lr=3"], "no run there has what was asked for; lr is 0.03"),
        (["run", "-o", "table.xyz"], "table.xyz: no format has this suffix; expected .csv, .html"),
        (["run/config.yaml"], "a file, not a folder"),
        (["run", "--setting", "lr"], "expected NAME=VALUE"),
        (["run", "--baseline", "zscl"], "--baseline zscl: no such method"),
        (
            ["run", "--format", "word"],
            "'word' is not one of 'csv', 'html', 'json', 'latex', 'markdown', 'runs', 'terminal'",
        ),
        (["run", "-o", "run/accuracy.csv/table.md"], "cannot be written"),
        (["run", "-o", "table.md", "--siunitx"], "--siunitx: is for LaTeX, not for markdown"),
    ],
)
def test_wrong_input_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "run", states(1), TASKS)
    (tmp_path / "empty").mkdir()
    result = compare(*arguments)
    assert result.exit_code == 2 and not result.stdout
    assert words in result.stderr and "Traceback" not in result.stderr
    assert sum(line.lower().startswith("error: ") for line in result.stderr.splitlines()) == 1


class Cells(HTMLParser):
    """Text and tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


STRANGE = ["a_b <b>bold</b> & 50 %", "x|y $z$ #1 \\cmd{}", "tilde~ caret^ `code`"]


def test_strange_names_are_taken_as_they_are(tmp_path: Path) -> None:
    write_run(tmp_path / "run", states(1), STRANGE, "nusa", note="<script>alert(1)</script>")
    write_run(tmp_path / "other", states(2), STRANGE, "nusa", note="a_b|c")
    page = Cells()
    page.feed(compare(tmp_path, "--per-task", "--format", "html").stdout)
    assert not {"script", "b"} & set(page.tags)
    assert all(name in page.text for name in (*STRANGE, "NuSA-CL note=<script>alert(1)</script>"))
    table = compare(tmp_path, "--per-task", "--format", "markdown").stdout
    assert r"| NuSA-CL note=a\_b\|c |" in table and r"a\_b \<b\>bold" in table
    text = compare(tmp_path, "--per-task").stdout
    assert all(name in text for name in STRANGE)


def has_siunitx() -> bool:
    if shutil.which("kpsewhich") is None:
        return False
    return not subprocess.run(["kpsewhich", "siunitx.sty"], capture_output=True, check=False).returncode


NEEDS_SIUNITX = pytest.param(["--siunitx"], marks=pytest.mark.skipif(not has_siunitx(), reason="needs siunitx"))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("options", [[], NEEDS_SIUNITX])
def test_latex_compiles(tmp_path: Path, options: list[str]) -> None:
    two_methods(tmp_path / "runs")
    write_run(tmp_path / "runs" / "strange", states(1), STRANGE, "nusa", note="a_b")
    written = compare(
        tmp_path / "runs",
        "--per-task",
        "--baseline",
        "lora",
        "--format",
        "latex",
        "-o",
        tmp_path / "tables.tex",
        *options,
    )
    assert written.exit_code == 0 and written.stdout == f"{tmp_path / 'tables.tex'}\n"
    (tmp_path / "paper.tex").write_text(
        f"\\documentclass{{article}}\\usepackage{{booktabs,graphicx{',siunitx' if options else ''}}}"
        "\\begin{document}\\input{tables}\\end{document}"
    )
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"], cwd=tmp_path, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull \\hbox" not in done.stdout


def test_siunitx_aligns_numbers_and_keeps_the_marks(tmp_path: Path) -> None:
    """Last is 60.0 ± 0.0, 9.5 ± 0.7 and (a single run) 8.0; a difference has a sign; costs with units stay as they are."""
    for strategy, values in {"nusa": (60.0, 60.0), "lora": (9.0, 10.0), "olora": (8.0,)}.items():
        for seed, value in enumerate(values):
            write_run(tmp_path / f"{strategy}{seed}", np.full((4, 3), value), TASKS, strategy, seed)
    text = compare(tmp_path, "--baseline", "olora", "--siunitx", "--format", "latex").stdout
    assert r"% \usepackage{booktabs,graphicx,siunitx}" in text and text.count(r"\sisetup{") == text.count(
        r"\begin{table"
    )
    first, *_, cost = text.split(r"\begin{tabular}")[1:]
    assert first.startswith("{l" + 3 * "S[table-format = 2.1(2)]" + "S[table-format = 1.1(2)]S[table-format = 2.1(2)]}")
    assert "method & {Transfer} & {Avg} & {Last} & {forgetting} & {learning accuracy}" in first
    best, second, third = r"\bfseries 60.0 \pm 0.0", r"{$\phantom{0}$\underline{\num{9.5 \pm 0.7}}}", "8.0"
    for name, cell in (("NuSA-CL", best), ("LoRA", second), ("O-LoRA", third)):
        assert f"\n{name} & {cell} & {cell} & {cell} & " in first
    assert r"NuSA-CL & 1000 & 0 & 0 & 2.0 GB & 60 s & 20 s &" in cost and cost.startswith("{lS[table-format = 4]")
    found = numbers([Cell("+1.3 ± 12.5"), Cell("1\u202f830.4"), Cell("–")])
    assert found is not None and found.format == "S[table-format = +4.1(3)]"
    assert found.cell(Cell("5.0", "second")) == r"{$\phantom{{-}000}$\underline{\num{5.0}}$\phantom{{}\pm.000}$}"
    assert numbers([Cell("1.0"), Cell("7 s")]) is None and numbers([Cell("–")]) is None


def test_latex_has_a_label_for_each_table_and_no_path_of_a_machine(tmp_path: Path) -> None:
    for shots in (None, 5):
        place: dict[str, Any] = {
            "stream": "folder:/home/somebody/my data/pictures",
            "pretrained": "/weights/of somebody/clip.pt",
        }
        write_run(tmp_path / f"run{shots}", states(1), TASKS, shots=shots, **place)
    text = compare(tmp_path, "--format", "latex", "--per-task").stdout
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(labels) == len(set(labels)) == text.count(r"\begin{table") and "tab:order-default-task-known-2" in labels
    assert "somebody" not in text and "stream folder:pictures, 3 tasks" in text and "(clip.pt)" in text


def zscl_runs(root: Path) -> None:
    """A run folder for each published matrix of ZSCL's repository, as our strategies would have written it."""
    for matrix, order, method in printed():
        states = published_states(matrix)
        states[0] = states[1]  # no row was published for the untrained model, and nothing here uses it
        tasks = published_tasks(matrix.partition("_")[0])
        own: dict[str, Any] = {"l2": 0.0 if "*" in method else 1.0} if method.startswith("ZSCL") else {}
        write_run(root / matrix, states, tasks, OURS[method], stream="mtil", order=order, **own)


def test_the_published_rows_are_reproduced_from_their_matrices(tmp_path: Path) -> None:
    zscl_runs(tmp_path)
    lines = compare(tmp_path, "--published", "--per-task", "--format", "markdown").stdout.splitlines()
    for method in ("Continual-FT", "LwF", "LwF-VR", "WiSE-FT", "ZSCL", "ZSCL* (no L2 term)"):
        name = method.replace("*", r"\*")
        means = [line for line in lines if line.startswith(f"| {name} | original |")]
        assert len(means) == 2, method
        for line in means:
            assert line.endswith(r"| +0.0 / +0.0 / +0.0 | 3 of 3 within 1.0 points |"), line
    differences = [line for line in lines if line.startswith("| difference |")]
    assert len(differences) == 2 * 3 * 6
    # The released code does not give iCaRL's row: it stands there, beside ours, and nothing is called agreement.
    icarl = [line for line in lines if line.startswith("| iCaRL | original |")]
    assert len(icarl) == 2 and all(line.endswith("| – | not compared |") for line in icarl)
    assert sum("iCaRL is not compared: the released code stores wrong images" in line for line in lines) == 2
    for line in differences:
        cells = {cell.strip() for cell in line.split("|")[2:-2]}
        assert cells <= {"+0.0", "–"}, line


def test_a_csv_has_the_published_values_with_their_sources(tmp_path: Path) -> None:
    zscl_runs(tmp_path)
    own, rows = csv_rows(tmp_path), csv_rows(tmp_path, "--published", "--per-task")
    beside = [row for row in rows if row["source"]]
    wanted = {"method": "ZSCL", "protocol": "MTIL full-shot", "order": "I", "metric": "avg", "task": ""}
    row = only(beside, **wanted)
    assert row["mean"] == published.values()["MTIL full-shot", "I", "ZSCL", "Avg", "mean"].value
    assert row["standing"] == "original" and row["source"].startswith("Thunderbeee/ZSCL")
    assert only(beside, **{**wanted, "task": "DTD"}) and not any(row["source"] for row in own)
    means = [row for row in csv_rows(tmp_path, "--published") if row["source"]]
    assert means and all(row["task"] == "" for row in means)


def test_json_has_the_numbers_behind_every_cell(tmp_path: Path) -> None:
    made = two_methods(tmp_path)
    (section,) = json.loads(compare(tmp_path, "--format", "json", "--baseline", "lora").stdout)
    assert section["methods"] == ["nusa", "lora"]
    tables = {table["title"]: table for table in section["tables"]}
    table = tables["order default, task known"]
    column = table["header"].index("Transfer")
    values = [transfer(matrix) for matrix in made["nusa"]]
    (row,) = [row for row in table["rows"] if row[0]["text"] == "NuSA-CL"]
    assert row[column]["value"] == pytest.approx(sum(values) / 3) and row[column]["mark"] == "best"
    assert row[column]["spread"] == pytest.approx(statistics.stdev(values))
    (difference,) = tables["difference to LoRA, task known"]["rows"]
    pairs = [transfer(a) - transfer(b) for a, b in zip(made["nusa"], made["lora"], strict=True)]
    assert difference[column]["value"] == pytest.approx(sum(pairs) / 3)
    row = only(csv_rows(tmp_path, "--baseline", "lora"), metric="transfer minus lora", task_identity="known")
    assert difference[column]["spread"] == pytest.approx(float(row["interval_half_width"]))


def test_other_protocols_and_settings_are_said_not_compared(tmp_path: Path) -> None:
    tasks = published_tasks("order1")
    write_run(tmp_path / "diki", states(1, tasks=11), tasks, "diki", stream="mtil")
    write_run(tmp_path / "lora", states(2, tasks=11), tasks, "lora", stream="mtil", rank=8)
    text = compare(tmp_path, "--published").stdout
    assert "DIKI is not compared: CoOp's splits, SGD, fp16, a model chosen by validation; here ZSCL's splits" in text
    assert "LoRA (NuSA re-impl.) is not compared: rank 8, not 128." in text
    of_dpw: dict[str, Any] = {"stream": "mtil", "splits": "coop", "shots": 16}
    write_run(tmp_path / "few" / "moe", states(1, tasks=11), tasks, "moe_adapter", **of_dpw)
    write_run(tmp_path / "few" / "diki", states(1, tasks=11), tasks, "diki", **of_dpw)
    few = compare(tmp_path / "few", "--published").stdout
    assert "MoE-Adapters is not compared: the draw of 16 images and the templates are not known; its DDAS" in few
    assert "known; SGD, fp16, a model chosen by validation; here AdamW" in few and "here ZSCL's splits" not in few
    assert "within" not in few
    write_run(tmp_path / "micro" / "run", states(1), TASKS)
    assert "None are known for this stream" in compare(tmp_path / "micro", "--published").stdout


def test_rows_on_coops_splits_stand_beside_runs_on_them_alone(tmp_path: Path) -> None:
    tasks = [task for task in published_tasks("order1") if task != "CIFAR100"]
    for splits in ("zscl", "coop"):
        for place, strategy in enumerate(("zeroshot", "zscl")):
            run: dict[str, Any] = {"stream": "xtail", "identity": "unknown", "splits": splits}
            write_run(tmp_path / splits / strategy, states(place, tasks=10), tasks, strategy, **run)
    others = compare(tmp_path / "zscl", "--published").stdout
    assert "None are known for this stream, its splits" in others and "RAIL" not in others
    text = compare(tmp_path / "coop", "--published", "--format", "markdown").stdout
    assert "stream xtail, splits coop, 10 tasks" in text and "X-TAIL 16-shot (10 datasets), order I" in text
    for name, last in (
        ("RAIL-Primal", "79.1"),
        ("RAIL-Dual (as in LADA)", "82.3"),
        ("CoDyRA", "79.2"),
        ("MoRAM", "80.9"),
    ):
        assert last in next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
    zero_shot = next(line for line in text.splitlines() if line.startswith("| Zero-shot CLIP |"))
    assert "62.4" in zero_shot and "of 1 within 0.3 points" in zero_shot
    assert "ZSCL is not compared: re-run by others" in text and "CoOp's splits" not in text
    both = compare(tmp_path, "--published").stdout
    assert both.count("order default, task unknown") == 2  # never in one table
    write_run(tmp_path / "full", states(1, tasks=10), tasks, "zscl", **{**run, "shots": None})
    full = compare(tmp_path / "full", "--published").stdout
    assert "X-TAIL full-shot (10 datasets)" in full and "shots none, not 16" not in full


def test_runs_of_before_the_setting_are_on_zscls_splits(tmp_path: Path) -> None:
    write_run(tmp_path / "old", states(1), TASKS, seed=1)
    write_run(tmp_path / "new", states(2), TASKS, seed=2, splits="zscl")
    assert compare(tmp_path).stdout.count("stream micro, 3 tasks") == 1


def test_every_published_row_that_is_named_exists() -> None:
    rows, protocols = {key[2] for key in published.values()}, {key[0] for key in published.values()}
    assert set(published.facts()["protocols"]) <= protocols
    assert set(published.facts()["not_here"]) <= rows
    for name, facts in published.facts()["protocols"].items():
        assert set(facts.get("instead", {})) <= {key[2] for key in published.values() if key[0] == name}
    for starts in published.facts()["not_here"].values():
        assert all(any(protocol.startswith(start) for protocol in protocols) for start in starts)
    for strategy in registry.names("strategy"):
        for row, wanted in registry.about(strategy).published.items():
            assert row in rows and row not in published.facts()["not_here"], (strategy, row)
            known = {*COMMON_NAMES, *settings_of(strategy_of(strategy))}
            assert {*wanted.settings, *wanted.needs} <= known
            starts = [] if isinstance(wanted.differs, str) else wanted.differs
            assert all(any(protocol.startswith(start) for protocol in protocols) for start in starts)


def test_needs_neither_torch_nor_avalanche() -> None:
    heavy = "torch", "avalanche", "pandas", "matplotlib"
    code = f"import sys, benchmarks.compare; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_readmes_tables_are_what_the_commands_print() -> None:
    done = subprocess.run(
        [sys.executable, ".ci/readme.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
