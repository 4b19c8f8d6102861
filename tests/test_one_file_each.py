"""A thing of each kind that this project knows several of, each added as one file in its folder and nothing else.

The files go into a copy of the packages, where the real commands have to find them.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT


PACKAGES = ("benchmarks", "strategies", "plotting")
TOYS = ROOT / "tests" / "data" / "toys"  # a tree like the packages' own


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages with the toy files and the toy data set; without the micro CLIP's weights, which no test here needs."""
    root = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    for half, count in (("train", 6), ("test", 3)):
        for name, colour in (("dark_red", (99, 0, 0)), ("green", (0, 255, 0))):
            folder = root / "data" / "toy-squares" / half / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (40, 36), colour).save(folder / f"{number}.png")
    for toy in TOYS.rglob("*.py"):
        assert not (root / toy.relative_to(TOYS)).exists()
        shutil.copy(toy, root / toy.relative_to(TOYS))
    return root


def said(copy: Path, module: str, *words: object) -> str:
    """What `python -m MODULE WORDS` prints in the copy."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, words)], cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def run(copy: Path, tiny_clip: Path) -> Path:
    """A run of the toy method on the toy stream, by the real command."""
    where = ["--stream", "toy-stream", "--model", f"local-dir:{tiny_clip}", "--results", copy / "results"]
    said(copy, "benchmarks.run", "--strategy", "toy", *where, "--iterations", 2, "--batch-size", 4)
    (config,) = (copy / "results").rglob("config.yaml")
    return config.parent


def test_a_method(copy: Path, run: Path) -> None:
    assert "Toy Tuning: only biases learn." in said(copy, "benchmarks.run", "--list")
    assert "| Toy Tuning |" in said(copy, "benchmarks.compare", run, "--format", "markdown")


def test_a_figure(copy: Path, run: Path) -> None:
    assert (run / "plots" / "toy.png").is_file() and (run / "plots" / "toy.svg").is_file()
    assert "toy           Stripes." in said(copy, "plotting", "--help")
    said(copy, "plotting.toy", run, "-o", copy / "toy.pdf")
    assert (copy / "toy.pdf").read_bytes().startswith(b"%PDF")
    said(copy, "plotting.report", run, "-o", copy / "report.html")
    page = (copy / "report.html").read_text()
    assert "<figcaption>Stripes of Toy Tuning.</figcaption>" in page and 'alt="1 stripe"' in page


def test_a_table_format(copy: Path, run: Path) -> None:
    assert said(copy, "benchmarks.compare", run, "--format", "toy") == "1 section of Toy Tuning\n"
    said(copy, "benchmarks.compare", run, "-o", copy / "out.toy")
    assert (copy / "out.toy").read_text() == "1 section of Toy Tuning\n"


def test_a_data_set_and_a_stream(copy: Path, run: Path) -> None:
    assert "toy-stream" in said(copy, "benchmarks.run", "--list")
    assert "12 training images, 6 test images, 2 classes" in said(copy, "benchmarks.prepare", "--stream", "toy-stream")
    about = json.loads((run / "stream.json").read_text())
    assert [(task["name"], task["dataset"]) for task in about["tasks"]] == [
        ("first", "ToySquares"),
        ("second", "ToySquares"),
    ]
    assert about["tasks"][0]["class_names"] == ["dark red", "green"]


def test_a_measurement(run: Path) -> None:
    with (run / "norms.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["after"] for row in rows} == {"0", "1", "2"} and all(float(row["norm"]) > 0 for row in rows)
    assert json.loads((run / "run.json").read_text())["tables"]["norms"]["columns"][-1]["name"] == "norm"


def test_a_study(copy: Path) -> None:
    assert "toy-question         Does a toy have an answer?" in said(copy, "benchmarks.study", "--list")
    assert said(copy, "benchmarks.study", "toy-question", "--status") == "3 runs: 3 to do\n"
