"""What `pip install` gives: the packages with their data files and the command, in an environment of its own."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT


def run(*words: object, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [*map(str, words)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run("uv", "build", "--wheel", "--out-dir", out, cwd=ROOT)
    (found,) = out.glob("*.whl")
    return found


needs_uv = pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv, which builds the wheel")


@needs_uv
@pytest.mark.slow
def test_the_wheel_has_code_and_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"benchmarks", "strategies", "plotting"}
    assert "benchmarks/micro/clip/open_clip_model.safetensors" in names
    assert "benchmarks/recipes/mtil.yaml" in names and "benchmarks/comparison/published.csv" in names
    tracked = run("git", "ls-files", "benchmarks", "strategies", "plotting", cwd=ROOT).split()
    assert set(tracked) - set(names) == set()


@needs_uv
@pytest.mark.slow
def test_installed_in_an_empty_environment_it_runs_anywhere(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "environment"
    run("uv", "venv", "--python", sys.executable, place, cwd=tmp_path)
    # uv's own exclusion of solvers that Avalanche asks for is this project's setting, not the wheel's.
    overrides = tmp_path / "overrides.txt"
    overrides.write_text("qpsolvers[quadprog]\n")
    python = place / "bin" / "python"
    run("uv", "pip", "install", "--python", python, "--override", overrides, wheel, cwd=tmp_path)
    command, elsewhere = place / "bin" / "nusa-bench", tmp_path / "elsewhere"
    elsewhere.mkdir()
    clean = {"PYTHONPATH": "", "VIRTUAL_ENV": ""}
    line = ["run", "--strategy", "nusa", "--order", "shapes,clocks", "--iterations", 2, "--device", "cpu"]
    run(command, *line, cwd=elsewhere, env=clean)
    (folder,) = (elsewhere / "results" / "micro" / "nusa").iterdir()
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"
    assert (folder / "plots" / "matrix.png").is_file()
    assert "NuSA-CL" in run(command, "compare", "results", cwd=elsewhere, env=clean)
    code = "from benchmarks import api as nb; print(len(nb.load_runs('results')), nb.__file__)"
    said = run(python, "-c", code, cwd=elsewhere, env=clean)
    assert said.startswith("1 ") and str(place) in said
