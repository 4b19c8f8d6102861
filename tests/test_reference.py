"""What is committed in `results/reference`: complete, small, and the source of the figures in its README."""

import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmarks.config.recipes import recipe
from benchmarks.runs.folder import find
from benchmarks.runs.read import read
from benchmarks.sweep.search import scores
from tests.conftest import ROOT


REFERENCE = ROOT / "results" / "reference"
TEXT = (REFERENCE / "README.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of a table in the README, by the start of its first line."""
    table = TEXT[TEXT.index(heading) :].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_every_run_is_finished_and_can_be_read() -> None:
    found = {name: [read(folder) for folder in find([REFERENCE / name]).folders] for name in ("micro", "alone", "bf16")}
    assert {name: len(each) for name, each in found.items()} == {"micro": 66, "alone": 33, "bf16": 3}
    for run in [run for each in found.values() for run in each]:
        assert run.is_finished and run.contradiction() is None and run.entropy_rank is not None
        assert run.protocol.digest and run.cost and len(run.config) > 10


@pytest.mark.parametrize("heading", ["| strategy | 0.0001", "| strategy | 0.01"])
def test_the_search_is_the_one_that_the_readme_shows(heading: str) -> None:
    table = pd.read_csv(REFERENCE / "search.csv")
    header, _, *lines = rows(heading)
    for name, *cells in lines:
        strategy, _, variant = name.strip("`").partition(" --variant ")
        chosen = table[table.strategy == strategy]
        if strategy == "milora":
            chosen = chosen[chosen.variant == (variant or "original")]
        chosen = chosen.set_index("lr")
        right_after, avg = chosen.learning_accuracy, chosen.avg
        assert sorted(right_after.index) == [float(rate) for rate in header[1:]]
        for rate, cell in zip(header[1:], cells, strict=True):
            lr = float(rate)
            shown = f"{right_after[lr]:.1f} / {avg[lr]:.1f}"
            assert re.sub(r"\*", "", cell) == shown, (name, rate)
            assert ("**" in cell) == (right_after.idxmax() == lr), (name, rate)


def test_the_recipe_has_what_the_search_chose() -> None:
    chosen = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in (REFERENCE / "search").glob("search-*.yaml")]
    assert len(chosen) == 2
    for strategy, settings in (item for each in chosen for item in each["strategies"].items()):
        assert settings.items() <= {**recipe("micro", strategy), "variant": "released"}.items(), strategy


def test_the_search_chose_from_runs_that_are_here() -> None:
    """The means of its tables are those of the packed runs, and every method has nine of them."""
    runs = [read(folder) for folder in find([REFERENCE / "search"]).folders]
    tables = [pd.read_csv(file) for file in (REFERENCE / "search").glob("search-*.csv")]
    table = pd.concat(tables).reset_index(drop=True)
    assert {f"{value:.2f}" for value in table.average} <= {f"{scores(run)['average']:.2f}" for run in runs}
    assert set(table.groupby(["strategy", table.variant.fillna("")]).size()) == {9}
    assert len({(run.config["strategy"], run.config.get("variant")) for run in runs}) == 21


def test_the_search_over_order_II_is_the_one_that_the_readme_shows() -> None:
    table = pd.read_csv(REFERENCE / "search_order_II.csv").set_index(["strategy", "iterations", "lr"])
    _, _, *lines = rows("| strategy | steps")
    assert len(lines) == len(table)
    for name, steps, lr, *cells in lines:
        run = table.loc[name.strip("`"), int(steps), float(lr)]
        assert cells == [f"{run[figure]:.1f}" for figure in ("learning_accuracy", "transfer", "avg", "last")], (
            name,
            lr,
        )


def test_the_searches_name_where_they_come_from() -> None:
    columns = [
        "started",
        "seconds",
        "seed",
        "weights_sha256",
        "versions.torch",
        "hardware.processor",
        "hardware.threads",
    ]
    for name in ("search", "search_order_II"):
        assert pd.read_csv(REFERENCE / f"{name}.csv")[columns].notna().all(axis=None)
    assert pd.read_csv(REFERENCE / "search.csv")["git.commit"].notna().all()  # not known of all runs with 0.1.0


def test_what_is_committed_stays_small() -> None:
    """At most 600 files, and 6 MB in all besides the micro CLIP's weights."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = [Path(name) for name in listed.stdout.split("\0") if name]
    assert len(names) <= 600
    sizes = [(ROOT / name).stat().st_size for name in names if name.suffix != ".safetensors" and (ROOT / name).exists()]
    assert sum(sizes) <= 6_000_000
