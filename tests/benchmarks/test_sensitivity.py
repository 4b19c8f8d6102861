"""`python -m benchmarks.sensitivity`: the real command on a tiny model and on a run's, and what it refuses."""

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import api as nb
from benchmarks import sensitivity


def said(images: Path, *words: object) -> str:
    fixed = ["--device", "cpu", "--stream", f"folder:{images}", "--remove", "8", "--norms", "0.5", "--directions", "4"]
    done = CliRunner().invoke(sensitivity.main, [str(word) for word in (*words, *fixed)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_model_and_a_runs_model(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    model = f"local-dir:{tiny_clip}"
    printed = said(images, model, "-o", tmp_path / "table.csv")
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["change"] for row in rows] == ["none", *["removed"] * 3, *["updated"] * 8]
    assert [line.split()[-1] for line in printed.splitlines()[1:]] == [f"{float(row['accuracy']):.1f}" for row in rows]
    run = nb.run("zeroshot", f"folder:{images}", model=model, results=tmp_path, device="cpu", plots=False, silent=True)
    assert said(images, run.folder) == printed
    assert float(rows[0]["accuracy"]) == pytest.approx(run.metrics["known"]["zero_shot"])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["micro", "--remove", "1,x"], "error: --remove: expected numbers with commas, each at least 1, got 1,x"),
        (["micro", "--norms", "nan"], "error: --norms: expected numbers with commas, each at least 0, got nan"),
        (["nothing"], 'error: --model: open_clip has no model "nothing"'),
    ],
)
def test_what_it_refuses(words: list[str], line: str) -> None:
    done = CliRunner().invoke(sensitivity.main, words)
    assert done.exit_code == 2 and done.stderr.splitlines()[-1].startswith(line)
