"""The code on docs/python.md runs, from top to bottom, and does what the page says."""

import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import api as nb
from tests.conftest import ROOT


def test_the_pages_code_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 4 and len(blocks[0].splitlines()) <= 20
    monkeypatch.chdir(tmp_path)
    quick = {"plots": False, "silent": True, "iterations": 5}
    run = nb.run
    monkeypatch.setattr(nb, "run", lambda *words, **more: run(*words, **{**more, **quick}))
    exec(compile("\n".join(blocks), "docs/python.md", "exec"), {"__name__": "page"})
    said = capsys.readouterr().out
    assert "2 of 2 tasks learned" in said
    runs = nb.load_runs("results")
    assert len(runs) == 7 and {run.config["strategy"] for run in runs} == {"nusa", "lora", "biases"}
    assert len(runs.filter(stream="my-colours")) == 1
    (losses,) = [run.table("losses") for run in runs if (run.folder / "losses.csv").is_file()]
    assert len(losses) == 2 * 5


def test_a_runs_model_in_ten_lines_of_open_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block on docs/evaluating.md gives the accuracies of the run whose model it loads."""
    page = (ROOT / "docs" / "evaluating.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    code = block.partition("\n\n")[2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(tmp_path)
    run = nb.run("nusa", order="arrows,clocks", iterations=5, plots=False, silent=True, device="cpu")
    Path("results/micro/nusa").joinpath(run.folder.name).rename("results/micro/nusa/seed42")
    Path("benchmarks").symlink_to(ROOT / "benchmarks")
    for number, task in enumerate(nb.stream("micro").open(("arrows", "clocks"))):
        found: list[Any] = []
        given = {"names": task.class_names, "templates": task.templates, "print": found.append}
        given["pictures"] = [task.test.images.read(row) for row in task.test.rows]
        exec(compile(block, "docs/evaluating.md", "exec"), given)
        right = 100 * (found[0].numpy() == task.test.labels).mean()
        assert right == pytest.approx(run.accuracy["known"][-1, number])
