"""Run folders of every version: real ones of 0.1, 0.2 and 0.3 (`tests/data/runs`), and such as a later version may write."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from benchmarks import compare
from benchmarks.comparison.collection import load
from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.runs import declared, schema
from benchmarks.runs.folder import RunFiles
from benchmarks.runs.keys import KEYS
from benchmarks.runs.read import read
from plotting import spectrum
from plotting.draw import draw_all
from tests.conftest import ROOT


OLD = ROOT / "tests" / "data" / "runs"
VERSIONS = ("0.1", "0.2", "0.3")


def copy(version: str, place: Path, **settings: Any) -> Path:
    """An old folder, with some settings changed."""
    shutil.unpack_archive(OLD / f"{version}.zip", place)
    config = yaml.safe_load((place / "config.yaml").read_text())
    (place / "config.yaml").write_text(yaml.safe_dump({**config, **settings}, sort_keys=False))
    return place


def edit(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    file.write_text(json.dumps(change(json.loads(file.read_text()))))


def add_column(file: Path, name: str, value: str) -> None:
    header, *rows = file.read_text().splitlines()
    file.write_text("\n".join([f"{header},{name}", *(f"{row},{value}" for row in rows)]) + "\n")


def from_the_future(place: Path, version: str = "1.7") -> Path:
    """A folder with a version, setting, column, keys, table and file that nothing here knows."""
    copy("0.3", place, tempo="allegro")
    columns = [{"name": "warmth", "kind": "text", "meaning": "?", "unit": "K", "colour": "red", "since": "1.5"}]
    tables = {"rank": {"file": "rank.csv", "keys": ["after"], "columns": columns}}
    edit(place / "run.json", lambda about: {**about, "schema_version": version, "tables": tables, "mood": {"good": 1}})
    edit(place / "cost.json", lambda cost: {**cost, "kilowatt_hours": [1, 2]})
    edit(place / "stream.json", lambda stream: {**stream, "weather": "rain"})
    add_column(place / "rank.csv", "warmth", "007")
    add_column(place / "rank.csv", "gauge", "3.5")
    add_column(place / "spectrum.csv", "sort", "odd")
    (place / "weather.csv").write_text("after,sky\n0,grey\n1,1\n")
    return place


def printed(*arguments: object) -> tuple[str, str]:
    result = CliRunner().invoke(compare.main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_a_folder_of_an_earlier_version_is_read_whole(version: str, tmp_path: Path) -> None:
    run = read(copy(version, tmp_path / "run"))
    assert schema.version(run.files) == schema.number(version)
    assert run.is_finished and run.tasks == ("arrows", "clocks") and run.contradiction() is None
    assert set(run.accuracy) == ({"known", "unknown"} if version == "0.1" else {"known", "unknown", "seen"})
    assert len(run.rank) == 3 * 24 and (run.spectrum is None) == (version == "0.1")
    assert run.entropy_rank and run.cost["trained_parameters"] == [384, 384]
    assert run.config["precision"] == "float32" and run.config["shots"] is None and not run.config["compile"]
    assert draw_all(run.folder)
    assert printed(run.folder)[1] == ""


def test_a_setting_that_older_folders_lack_makes_no_other_method(tmp_path: Path) -> None:
    """0.2 knew no precision, compilation or checkpointing; 0.3 writes them."""
    assert "precision" not in RunFiles(OLD / "0.2").text("config.yaml")
    assert "precision: float32" in RunFiles(OLD / "0.3").text("config.yaml")
    for seed, version in enumerate(("0.2", "0.3")):
        copy(version, tmp_path / version, seed=seed)
    rows = pd.read_csv(io.StringIO(printed(tmp_path, "--format", "csv")[0]))
    assert set(rows["method"]) == {"nusa"} and set(rows["count"]) == {2}
    copy("0.3", tmp_path / "bf16", precision="bf16")
    rows = pd.read_csv(io.StringIO(printed(tmp_path, "--format", "csv")[0]))
    assert set(rows["method"]) == {"nusa precision=float32", "nusa precision=bf16"}


def test_a_folder_of_a_later_version_is_read_and_what_is_unknown_in_it_passed_on(tmp_path: Path) -> None:
    run = read(from_the_future(tmp_path / "future"))
    assert run.config["tempo"] == "allegro" and run.about["mood"] == {"good": 1}
    assert run.cost["kilowatt_hours"] == [1, 2]
    assert set(run.rank.warmth) == {"007"} and run.rank.gauge.mean() == 3.5  # as declared, or as it looks
    assert list(run.table("weather").sky) == ["grey", "1"]
    assert draw_all(run.folder)
    assert run.spectrum is not None and set(run.spectrum["sort"]) == {"odd"}
    assert spectrum.mean_values((run,), "image", 0) == pytest.approx(
        spectrum.mean_values((read(OLD / "0.3"),), "image", 0)
    )
    copy("0.3", tmp_path / "now", seed=1)
    table, said = printed(tmp_path, "--format", "markdown")
    assert said == "" and "tempo=allegro" in table and "tempo=none" in table
    rows, _ = printed(tmp_path, "--format", "runs")
    assert "tempo" in rows.partition("\n")[0].split(",")
    joined = load([tmp_path]).rank
    assert joined.warmth.notna().sum() == 3 * 24 == joined.warmth.isna().sum()


def test_a_newer_number_before_the_point_is_refused_in_a_line(tmp_path: Path) -> None:
    folder = from_the_future(tmp_path / "future", "2.0")
    words = "written with version 2.0 of the run folder, this reads up to 1.x; update nusa-bench"
    with pytest.raises(UserError, match=words):
        read(folder)
    copy("0.3", tmp_path / "now")
    assert printed(tmp_path)[1].splitlines() == [f"left out: {folder}: {words}"]
    for wrong in (2, "two", "1", None, [1]):
        edit(folder / "run.json", lambda about, wrong=wrong: {**about, "schema_version": wrong, "versions": 3})  # type: ignore[misc]
        with pytest.raises(UserError, match=r"run.json: damaged, it says no schema_version like 1"):
            read(folder)


def test_a_column_that_came_later_holds_its_default_in_older_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A measurement of an installed package that adds two columns to `rank.csv`."""
    site = tmp_path / "site"
    (site / "toy-1.dist-info").mkdir(parents=True)
    (site / "toy-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n")
    (site / "toy-1.dist-info" / "entry_points.txt").write_text("[nusa_bench.measurements]\ntoy = toy_measurement\n")
    (site / "toy_measurement.py").write_text(
        '"""A toy."""\n\nfrom benchmarks.experiment.measurements.base import Measurement\n'
        "from benchmarks.runs.columns import Column\n\n"
        'class Meter(Measurement):\n    table = "rank"\n    keys = ("after", "tower", "block", "matrix")\n    turn = 2\n'
        '    columns = (Column("gain", "number", "?", since="0.3", default=1.5), Column("loss", "number", "?", since="0.3"))\n'
    )
    monkeypatch.syspath_prepend(str(site))
    assert [column.name for column in declared.tables()["rank"]][-2:] == ["gain", "loss"]
    rank = read(OLD / "0.2").rank
    assert set(rank.gain) == {1.5} and rank.loss.isna().all()
    # A folder of a version that could have them may have been made without that package.
    assert set(read(OLD / "0.3").rank.gain) == {1.5}


def test_all_keys_of_older_folders_are_registered() -> None:
    for version in VERSIONS:
        files = RunFiles(OLD / version)
        for file, columns in KEYS.items():
            if file == "stream.json" and version == "0.1":
                continue
            since = {column.name: schema.number(column.since) for column in columns}
            found = files.json(file)
            names = {*found, *(f"tasks.{name}" for task in found.get("tasks", []) for name in task)}
            assert names <= set(since), (version, file)
            assert all(since[name] <= schema.number(version) for name in names), (version, file)


def test_what_measurements_declare_is_read_from_their_files() -> None:
    """Compared with the classes themselves, imported."""
    tables: dict[str, set[str]] = {}
    for source in registry.sources("measurement").values():
        meter = source.load().Meter
        tables.setdefault(meter.table, set()).update(column.name for column in meter.columns)
    assert {name: {column.name for column in columns} for name, columns in declared.tables().items()} == tables


def test_a_declaration_that_is_damaged_is_said(tmp_path: Path) -> None:
    folder = from_the_future(tmp_path / "future")
    edit(folder / "run.json", lambda about: {**about, "tables": {"rank": [1]}})
    with pytest.raises(UserError, match=r"run.json: damaged, tables.rank declares no columns"):
        _ = read(folder).rank


def test_a_column_of_numbers_must_hold_numbers(tmp_path: Path) -> None:
    folder = copy("0.3", tmp_path / "run")
    table = pd.read_csv(folder / "rank.csv", dtype=str)
    table.loc[5, "update_norm"] = "much"
    table.to_csv(folder / "rank.csv", index=False)
    with pytest.raises(UserError, match=r"rank.csv: could not convert string to float: 'much'"):
        _ = read(folder).rank
