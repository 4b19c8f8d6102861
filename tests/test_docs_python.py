"""The code on docs/python.md runs, from top to bottom, and does what the page says."""

import re
from pathlib import Path

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
