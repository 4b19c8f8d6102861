"""What is committed in `results/reference`: complete, small, of one version, and with the recipe's settings."""

import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmarks.config.recipes import recipe
from benchmarks.runs.folder import find
from benchmarks.runs.read import read
from benchmarks.sweep.door import plan, shared_by_all
from benchmarks.sweep.file import read_blocks
from benchmarks.sweep.search import scores
from tests.conftest import ROOT
from tests.newer import NEWER


REFERENCE = ROOT / "results" / "reference"


def test_every_run_is_finished_and_can_be_read() -> None:
    found = {name: [read(folder) for folder in find([REFERENCE / name]).folders] for name in ("micro", "bf16")}
    assert {name: len(each) for name, each in found.items()} == {"micro": 226, "bf16": 3}
    for run in [run for each in found.values() for run in each]:
        assert run.is_finished and run.contradiction() is None and run.entropy_rank is not None
        assert run.protocol.digest and run.cost and len(run.config) > 10


def test_the_runs_of_micro_are_those_of_its_file() -> None:
    """With the present recipe's settings: the sweep that made them has nothing left to do."""
    asked = plan(read_blocks(REFERENCE / "micro.yaml"), shared_by_all(REFERENCE))
    assert {each.state for each in asked.standings} == {"finished"} and not asked.remarks
    found = {
        read(cell.folder).about["git"]["commit"]
        for cell in asked.cells
        if cell.request.config.strategy.name not in NEWER
    }
    assert len(found) == 1


def test_the_runs_of_the_frontier_are_those_of_its_file() -> None:
    """Every method at five rates, one of them the recipe's in `micro`: `make frontier` has nothing left to do."""
    asked = plan(read_blocks(REFERENCE / "frontier.yaml"), shared_by_all(REFERENCE / "frontier"))
    assert {each.state for each in asked.standings} == {"finished"} and not asked.remarks and len(asked.cells) == 180
    beside = plan(read_blocks(REFERENCE / "micro.yaml"), shared_by_all(REFERENCE))
    older = [cell for cell in (*asked.cells, *beside.cells) if cell.request.config.strategy.name not in NEWER]
    assert len({read(cell.folder).about["git"]["commit"] for cell in older}) == 1


@pytest.mark.parametrize(("name", "count", "older"), [("ablation", 48, 48), ("clips", 36, 6), ("controls", 30, 12)])
def test_the_runs_of_a_page_are_those_of_its_file(name: str, count: int, older: int) -> None:
    """`make NAME` has nothing left to do; as their README says, some are of before NuSA-Self took less memory."""
    asked = plan(read_blocks(REFERENCE / f"{name}.yaml"), shared_by_all(REFERENCE / name))
    assert [each.state for each in asked.standings] == ["finished"] * count
    (remark,) = asked.remarks
    assert remark.startswith(f"{older} finished: the strategy's code is other now")


def test_the_recipe_has_what_the_search_chose() -> None:
    chosen = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in (REFERENCE / "search").glob("search-*.yaml")]
    assert len(chosen) == 5
    for strategy, settings in (item for each in chosen for item in each["strategies"].items()):
        if settings.get("variant") == "ness":  # the recipe's entry is LoRA-Null's; NESS's rate stands in micro.yaml
            assert settings == {"variant": "ness", "lr": 1e-3}
        else:
            assert settings.items() <= {**recipe("micro", strategy), "variant": "released"}.items(), strategy


def test_the_search_chose_from_runs_that_are_here() -> None:
    """The means of its tables are those of the packed runs, and every method has nine of them."""
    runs = [read(folder) for folder in find([REFERENCE / "search"]).folders]
    tables = [pd.read_csv(file) for file in (REFERENCE / "search").glob("search-*.csv")]
    table = pd.concat(tables).reset_index(drop=True)
    assert {f"{value:.2f}" for value in table.average} <= {f"{scores(run)['average']:.2f}" for run in runs}
    assert set(table.groupby(["strategy", table.variant.fillna("")]).size()) == {9}
    assert len({(run.config["strategy"], run.config.get("variant")) for run in runs}) == 32


def test_what_is_committed_stays_small() -> None:
    """At most 800 files, and 8 MB in all besides the micro CLIP's weights."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = [Path(name) for name in listed.stdout.split("\0") if name]
    assert len(names) <= 800
    sizes = [(ROOT / name).stat().st_size for name in names if name.suffix != ".safetensors" and (ROOT / name).exists()]
    assert sum(sizes) <= 8_000_000
