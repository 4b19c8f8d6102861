"""A method, a stream, a data set, a measurement, a figure and a table format are each one file, found and working.

They are put into a copy of the packages, each into its folder, and nothing else there is touched. Then the real commands run.
"""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT


FILES = {
    "strategies/toy_method.py": '''
"""Toy method: only the layer norms' biases learn."""

from typing import Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from strategies.about import About
from strategies.base import StrategyPlugin


ABOUT = About(name="ToyTune", reference="nobody, 2026", colour="#123456", marker="s", figures=3)


@dataclass(frozen=True)
class Settings:
    layer: str = Field(default="ln_1", description="which layer norm of each block learns")


class Plugin(StrategyPlugin):
    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        for name, parameter in strategy.model.clip.named_parameters():
            parameter.requires_grad_(name.endswith(f"{self.settings.layer}.bias"))
''',
    "benchmarks/datasets/toysquares.py": '''
"""Toy squares of one colour."""

from pathlib import Path

from torchvision.datasets import ImageFolder

from benchmarks.datasets.about import Info
from benchmarks.datasets.parts import Part


INFO = Info(
    name="ToySquares", folder="toy-squares", origin="drawn", archive="", download=False, by_hand="draw it",
    split="drawn halves",    licence="none needed", citation="nobody", expected={"train": 12, "test": 6, "classes": 2},
    templates=("a square that is {}.",),
)


def read(root: Path) -> tuple[Part, ...]:
    found = [ImageFolder(root / INFO.folder / half) for half in ("train", "test")]
    return tuple(Part.of_files(each, each.targets, [path for path, _ in each.samples]) for each in found)
''',
    "benchmarks/streams/toy_stream.py": '''
"""Toy stream: the toy squares, twice."""

from dataclasses import replace
from pathlib import Path

from benchmarks.streams.base import Plan, refuse_argument
from benchmarks.streams.published import open_datasets, whole_task


NAMES = ("first", "second")


def build(argument: str, data_root: Path) -> Plan:
    refuse_argument("toy-stream", argument)

    def opened(chosen: tuple[str, ...]):
        task = whole_task(open_datasets(("ToySquares",), data_root, "toy-stream")["ToySquares"])
        return tuple(replace(task, name=name) for name in chosen)

    return Plan(names=NAMES, orders={"default": NAMES}, protocol="toy", open=opened, datasets=("ToySquares",))
''',
    "benchmarks/measurements/toy_norms.py": '''
"""Norms of the weight matrices."""

from benchmarks.measurements.base import Measurement
from benchmarks.measurements.spectrum import KEY_COLUMNS, KEYS, keys_of, matrices_of
from benchmarks.runs.columns import Column


class Meter(Measurement):
    table = "norms"
    keys = KEYS
    columns = (*KEY_COLUMNS, Column("norm", "number", "Frobenius norm of the matrix"))

    def measure(self, run):
        for matrix in matrices_of(run):
            yield {**keys_of(matrix, run.learned), "norm": matrix.weight().norm().item()}
''',
    "plotting/toy_norms.py": '''
"""The norms over the stream."""

from matplotlib.figure import Figure

from plotting import style


@style.paper()
def of_run(run):
    drawing = Figure((style.COLUMN, 2))
    drawing.add_subplot().plot(run.table("norms").groupby("after")["norm"].mean())
    return drawing
''',
    "benchmarks/comparison/formats/toy_lines.py": '''
"""A line for each method."""

SUFFIXES = (".toy",)


def write(comparison):
    return "".join(f"{method.label}: {len(method.runs)}\\n" for group in comparison.groups for method in group.methods)
''',
}  # fmt: skip


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages with the six files, and the toy squares."""
    place = tmp_path_factory.mktemp("copy")
    for package in ("benchmarks", "strategies", "plotting"):
        shutil.copytree(ROOT / package, place / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file, text in FILES.items():
        (place / file).write_text(text.lstrip())
    for half, count in (("train", 6), ("test", 3)):
        for name, colour in (("dark_red", (99, 0, 0)), ("green", (0, 255, 0))):
            folder = place / "data" / "toy-squares" / half / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (40, 36), colour).save(folder / f"{number}.png")
    return place


def python(copy: Path, *words: object) -> str:
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    line = [sys.executable, "-m", *map(str, words)]
    done = subprocess.run(line, cwd=copy, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_is_found_and_works(copy: Path) -> None:
    listed = python(copy, "benchmarks.run", "--list")
    assert "toy_method" in listed and "toy-stream" in listed
    assert "complete" in python(copy, "benchmarks.prepare", "--stream", "toy-stream")
    python(
        copy,
        "benchmarks.run",
        "--strategy",
        "toy_method",
        "--stream",
        "toy-stream",
        "--iterations",
        3,
        "--batch-size",
        4,
    )
    (run,) = (copy / "results" / "toy-stream" / "toy_method").iterdir()
    with (run / "norms.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["after"] for row in rows} == {"0", "1", "2"} and all(float(row["norm"]) > 0 for row in rows)
    assert (run / "plots" / "toy_norms.png").is_file() and (run / "plots" / "toy_norms.svg").is_file()
    assert "ToyTune" in python(copy, "benchmarks.compare", "results")
    python(copy, "benchmarks.compare", "results", "-o", "table.toy")
    assert (copy / "table.toy").read_text() == "ToyTune: 1\n"
