"""The line about settings in which the rows of a table differ, in every format."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.compare import main
from benchmarks.comparison import differing
from benchmarks.comparison.sorting import sort
from benchmarks.config import registry
from benchmarks.runs.folder import find
from plotting.report import main as report
from tests.run_folders import write_run


START = "Settings that differ between the rows: "


def put(root: Path, strategy: str, name: str = "", **settings: Any) -> None:
    same = {"lr": 0.001, "weight_decay": 0.0, "iterations": 100}
    states = np.full((3, 2), 50.0) + np.arange(2)
    write_run(root / f"{strategy}{name}".replace(":", "-"), states, ["one", "two"], strategy, **{**same, **settings})


def said(root: Path) -> str:
    (group,) = sort(find([root]).folders).groups
    found = differing.notes(group)
    assert len(found) <= 1 and all(each.startswith(START) and each.endswith(".") for each in found)
    return found[0].removeprefix(START).removesuffix(".") if found else ""


def test_methods_are_named_by_value_and_the_most_are_the_others(tmp_path: Path) -> None:
    put(tmp_path, "nusa", rank=8)
    put(tmp_path, "lora", rank=16, iterations=300)
    put(tmp_path, "zscl", lr=1e-5)
    put(tmp_path, "finetune")
    assert said(tmp_path) == (
        "iterations 300 (LoRA), 100 (all others); lr 1e-05 (ZSCL), 0.001 (all others); rank 8 (NuSA-CL), 16 (LoRA)"
    )
    put(tmp_path, "milora", rank=8, warmup=5.0, batch_size=64)
    assert said(tmp_path) == (
        "iterations 300 (LoRA), 100 (all others); batch_size 64 (MiLoRA), 16 (all others); lr 1e-05 (ZSCL), 0.001 (all "
        "others); warmup 5.0 (MiLoRA), 0.05 (all others); rank 16 (LoRA), 8 (the others that have it)"
    )


def test_equal_settings_are_not_said_nor_what_the_labels_say_nor_what_learns_nothing(tmp_path: Path) -> None:
    put(tmp_path, "nusa", "a", rank=4)
    put(tmp_path, "nusa", "b", rank=8)
    assert said(tmp_path) == ""  # both labels have the rank
    put(tmp_path, "zeroshot", lr=0.5, cost={"trained_parameters": [0, 0]})
    assert said(tmp_path) == ""
    put(tmp_path, "lora", rank=8)
    assert said(tmp_path) == "rank 4 (NuSA-CL rank=4), 8 (all others)"
    put(tmp_path, "moe_adapter", "a", decision="image", lr=0.01)
    put(tmp_path, "moe_adapter", "b", decision="batch", lr=0.01)
    assert "lr 0.01 (MoE-Adapters), 0.001 (all others)" in said(tmp_path)


def test_every_method_with_a_rate_of_its_own_is_one_line_and_a_search_is_a_number(tmp_path: Path) -> None:
    names = sorted(registry.names("strategy"))
    for place, strategy in enumerate(names[:12]):
        put(tmp_path, strategy, lr=10.0 ** (place - 12))
    text = said(tmp_path)
    assert "\n" not in text and all(registry.about(name).name in text for name in names[:12])
    put(tmp_path, names[12], lr=0.5)
    assert "lr (13 values among 13 methods)" in said(tmp_path)


def test_a_setting_by_task_and_one_that_is_off(tmp_path: Path) -> None:
    put(tmp_path, "nusa", iterations={"default": 100, "one": 50}, compile=True)
    put(tmp_path, "lora", rank=32)
    assert said(tmp_path) == "iterations 100 (LoRA), default:100+one:50 (NuSA-CL); compile false (LoRA), true (NuSA-CL)"


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "html", "report"])
def test_every_page_has_the_line(form: str, tmp_path: Path) -> None:
    put(tmp_path / "runs", "nusa", lr=0.25)
    put(tmp_path / "runs", "lora", rank=32)
    page = tmp_path / "page.html"
    command, words = (report, ["-o", str(page)]) if form == "report" else (main, ["--format", form])
    done = CliRunner().invoke(command, [str(tmp_path / "runs"), *words])
    text = page.read_text() if form == "report" else done.stdout
    assert done.exit_code == 0 and text.count(f"{START}lr 0.001 (LoRA), 0.25 (NuSA-CL).") == 1
