"""How a search chooses settings from the runs on validation images."""

import json

import numpy as np
import pytest
import yaml

from benchmarks.config.errors import UserError
from benchmarks.runs.read import read
from benchmarks.sweep import search
from benchmarks.sweep.cells import cells
from benchmarks.sweep.door import shared_by_all
from benchmarks.sweep.grid import Block
from tests.run_folders import write_run


TASKS = ["shapes", "clocks", "scans", "colours", "symbols"]
UNFINISHED = "nusa lr=0.01: not all runs are finished with all accuracies, so it is not chosen"


def states(learned, last):
    """An accuracy matrix whose diagonal is `learned`, and whose last row is `last` but for the last task."""
    found = np.full((6, 5), 20.0)
    found[1:][np.diag_indices(5)] = learned
    found[5, :4] = last
    return found


def searched(tmp_path, **values):
    names = tuple(name for name in values if name not in ("strategy", "seed"))
    return cells(search.blocks([Block(values, searched=names)]), shared_by_all(tmp_path))


def test_the_rules_choose_each_by_its_own_mean(tmp_path):
    found = searched(tmp_path, strategy=["nusa"], seed=["1", "2"], lr=["1e-3", "1e-2", "1e-1"])
    #        lr: learning, average
    means = {1e-3: (50.0, 49.0), 1e-2: (60.0, 58.0), 1e-1: (70.0, 40.0)}
    for cell in found:
        learned, average = means[cell.request.config.common.lr]
        shift = 1.0 if cell.request.config.common.seed == 1 else -1.0  # the two seeds' mean is the value above
        last = (5 * (average + shift) - (learned + shift)) / 4
        write_run(cell.folder, states(learned + shift, last), TASKS)
    rows = search.choose(found)
    assert [(row.settings["lr"], row.runs) for row in rows] == [(1e-3, 2), (1e-2, 2), (1e-1, 2)]
    assert [row.scores for row in rows] == [
        pytest.approx({"learning": learned, "average": average}) for learned, average in means.values()
    ]
    assert [row.chosen_by for row in rows] == [(), ("average",), ("learning",)]
    assert search.fragment(rows) == {"nusa": {"lr": 1e-2}}
    assert search.remarks(rows) == []


def test_settings_of_some_methods_only_and_values_at_the_end(tmp_path):
    found = searched(tmp_path, strategy=["nusa", "finetune"], rho=["0.9", "0.95"], lr=["1e-3"])
    for cell in found:
        best = getattr(cell.request.config.settings, "rho", 0.0)
        write_run(cell.folder, states(50.0 + best, 50.0 + best), TASKS)
    rows = search.choose(found)
    assert search.fragment(rows) == {"nusa": {"rho": 0.95, "lr": 1e-3}, "finetune": {"lr": 1e-3}}
    assert search.remarks(rows) == [
        "the methods were not given the same number of choices: nusa 2, finetune 1",
        "nusa: the best rho, 0.95, is at the end of those that were tried",
    ]
    header, *lines = search.table(rows, "micro")
    assert header == ["stream", "strategy", "rho", "lr", "tried", "runs", "learning", "average", "chosen_by"]
    assert [line[:6] for line in lines] == [
        ["micro", "nusa", "0.9", "0.001", "2", "1"], ["micro", "nusa", "0.95", "0.001", "2", "1"],
        ["micro", "finetune", "", "0.001", "1", "1"],
    ]  # fmt: skip


def test_each_block_searches_its_own_settings(tmp_path):
    """LoRA has an alpha too, which is not searched for and stands in no row of it."""
    blocks = [
        Block({"strategy": ["lora"], "lr": ["1e-3", "1e-2"]}, searched=("lr",)),
        Block({"strategy": ["wise_ft"], "lr": ["1e-4"], "alpha": ["0.5", "0.8"]}, searched=("lr", "alpha")),
    ]
    found = cells(search.blocks(blocks), shared_by_all(tmp_path))
    for cell in found:
        write_run(cell.folder, states(50.0, 50.0), TASKS)
    rows = search.choose(found)
    assert search.fragment(rows) == {"lora": {"lr": 1e-3}, "wise_ft": {"lr": 1e-4, "alpha": 0.5}}
    assert [line[2:4] for line in search.table(rows, "micro")] == [
        ["lr", "alpha"], ["0.001", ""], ["0.01", ""], ["0.0001", "0.5"], ["0.0001", "0.8"]
    ]  # fmt: skip


def test_what_is_not_finished_is_not_chosen(tmp_path):
    found = searched(tmp_path, strategy=["nusa"], lr=["1e-3", "1e-2"])
    write_run(found[0].folder, states(50.0, 50.0), TASKS)
    rows = search.choose(found)
    assert [row.chosen_by for row in rows] == [("learning", "average"), ()]
    assert search.remarks(rows)[0] == UNFINISHED


def test_a_run_without_its_last_accuracies_is_not_chosen(tmp_path):
    found = searched(tmp_path, strategy=["nusa"], lr=["1e-2", "1e-3"])
    for cell, last in zip(found, (np.nan, 50.0), strict=True):
        write_run(cell.folder, states(50.0, last), TASKS)
    rows = search.choose(found)
    assert [row.chosen_by for row in rows] == [(), ("learning", "average")]
    assert search.remarks(rows)[0] == UNFINISHED


def test_files_say_where_they_come_from(tmp_path):
    found = searched(tmp_path, strategy=["nusa"], lr=["1e-3", "1e-2"])
    commit = {"commit": "1" * 40, "uncommitted_changes": False}
    for cell, value in zip(found, (50.0, 40.0), strict=True):
        write_run(cell.folder, states(value, value), TASKS)
        run = json.loads((cell.folder / "run.json").read_text())
        (cell.folder / "run.json").write_text(json.dumps({**run, "git": commit}))
    rows = search.choose(found)
    table, recipe, about = search.write(rows, found, tmp_path, "the command")
    assert yaml.safe_load(recipe.read_text()) == {"strategies": {"nusa": {"lr": 1e-3}}}
    assert table.read_text().splitlines()[1] == "micro,nusa,0.001,2,1,50.00,50.00,learning average"
    said = json.loads(about.read_text())
    assert (said["command"], said["seeds"], said["orders"]) == (
        "the command",
        [7],
        ["shapes,clocks,scans,colours,symbols"],
    )
    assert said["streams"] == ["validation:7:micro"]
    assert said["git"] == [commit]  # of the runs, not of the code that chooses


def test_elsewhere_the_tasks_are_named():
    with pytest.raises(UserError, match="--order: name the tasks of mtil on which settings are searched for"):
        search.blocks([Block({"stream": ["mtil"]}, searched=("lr",))])
    (block,) = search.blocks([Block({"stream": ["mtil"], "order": ["Aircraft,DTD"]}, searched=("lr",))])
    assert block.values == {"seed": [7], "stream": ["validation:7:mtil"], "order": ["Aircraft,DTD"]}


@pytest.mark.parametrize(
    ("values", "names", "message"),
    [
        ([{"stream": ["micro", "mtil"]}], ("lr",), "one stream at a time"),
        ([{"rho": ["0.9", "0.99"], "lr": ["1e-3", "1e-2"]}], ("lr",), "--set rho: several values in a search"),
        ([{"seed": ["1", "2"]}], ("seed",), "--search seed: is no setting"),
        ([{"strategy": ["nusa"]}, {"lr": ["1"]}], ("lr",), "a strategy stands in two blocks"),
        ([{"strategy": ["nusa"]}], (), "search: names no setting, but another block does"),
        ([{"lr": ["1e-3"], "rho": ["0.9"]}], ("lr", "rho"), "--search lr: one choice alone"),
    ],
)
def test_refused(values, names, message):
    with pytest.raises(UserError, match=message):
        search.blocks([Block(each, searched=names) for each in values])


def test_a_search_needs_several_tasks(tmp_path):
    found = cells(search.blocks([Block({"order": ["shapes", "clocks"]}, searched=("lr",))]), shared_by_all(tmp_path))
    with pytest.raises(UserError, match=r"--order shapes: a search needs several tasks; brackets keep them together"):
        search.check(found)


def test_the_last_accuracy_of_a_class_incremental_stream_is_that_of_the_tables(tmp_path):
    """Over all test images, of which one task has nine tenths here."""
    folder = write_run(tmp_path / "run", states(60.0, 10.0), TASKS, identity="seen")
    about = json.loads((folder / "stream.json").read_text())
    about["tasks"][4]["test"] = 3600
    (folder / "stream.json").write_text(json.dumps(about))
    found = search.scores(read(folder))
    assert found["average"] == pytest.approx((4 * 100 * 10 + 3600 * 60) / 4000) and found["learning"] == 60.0
