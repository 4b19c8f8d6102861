"""A run that goes on with other threads, on another machine or with other versions: the line, and what run.json has."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.comparison.formats.runs import row
from benchmarks.comparison.metric_columns import machine
from benchmarks.comparison.sorting import sort
from benchmarks.comparison.versions import notes
from benchmarks.config.errors import UserError
from benchmarks.experiment.checkpoint import save_checkpoint
from benchmarks.experiment.parts import parts
from benchmarks.run import main
from benchmarks.runs.read import read
from benchmarks.runs.record import RunRecord
from tests.benchmarks.test_run import only_run, words
from tests.conftest import interrupt_at
from tests.run_folders import write_run


SAID = "going on in another environment"


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def here(**changed: Any) -> dict[str, Any]:
    hardware = {"device": "cpu", "gpu": None, "processor": "a", "threads": 2, "processes": 1, "platform": "linux"}
    git = {"commit": "abc", "uncommitted_changes": False}
    return {"versions": {"nusa-bench": "0.4.0", "torch": "2"}, "git": git, "hardware": {**hardware, **changed}}


def put(folder: Path, states: int, about: dict[str, Any]) -> None:
    """A run folder that was stopped after so many evaluations."""
    folder.mkdir(exist_ok=True)
    save_checkpoint(folder, {}, {}, RunRecord(["50.0"] * states, ["50.0"] * states, ["50.0"] * states), {})
    (folder / "run.json").write_text(json.dumps({"status": "running", **about}))


def test_a_run_goes_on_with_other_threads(
    images: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], threads: None
) -> None:
    line = ["--strategy", "nusa", *words(images, tiny_clip, tmp_path, "--rank", 4)]

    def go(count: int, until: int | None) -> tuple[dict[str, Any], str]:
        torch.set_num_threads(count)
        with pytest.MonkeyPatch.context() as patch:
            if until:
                interrupt_at(patch, "checkpoint.safetensors", until)
            assert main(line) == (130 if until else 0)
        return json.loads((only_run(tmp_path) / "run.json").read_text()), capsys.readouterr().err

    about, said = go(1, until=2)  # before any training, and the first task
    assert "parts" not in about and SAID not in said
    about, said = go(1, until=1)
    assert "parts" not in about and SAID not in said  # the second, as before
    about, said = go(2, until=None)
    assert f"{SAID} (threads 2, before 1): " in said
    assert [(part["state"], part["hardware"]["threads"]) for part in about["parts"]] == [(0, 1), (3, 2)]
    assert about["status"] == "finished" and about["hardware"]["threads"] == 2
    run = read(only_run(tmp_path))
    name = about["hardware"]["processor"]
    assert machine(run) == f"{name}, 1 thread, then {name}, 2 threads" == row(run)["machines"]


def test_a_start_that_computed_nothing_leaves_no_part_and_one_that_goes_back_begins_another(tmp_path: Path) -> None:
    put(tmp_path, 2, here())
    assert parts(tmp_path, here(), 3) == ([], "")
    found, said = parts(tmp_path, here(threads=1), 3)
    assert "(threads 1, before 2)" in said
    put(tmp_path, 2, {**here(threads=1), "parts": found})  # stopped at once
    assert parts(tmp_path, here(), 3) == ([], "")
    put(tmp_path, 3, {**here(threads=1), "parts": found})  # a task later
    assert parts(tmp_path, here(threads=1), 3) == (found, "")
    again, said = parts(tmp_path, here(threads=2, processor="b"), 3)
    assert [part["state"] for part in again] == [0, 2, 3]
    assert "processor b, before a; threads 2, before 1" in said
    put(tmp_path, 4, {**here(threads=1), "parts": found})  # every task is done
    assert parts(tmp_path, here(), 3) == (found, "")


def test_other_versions_and_commits_are_said_too(tmp_path: Path) -> None:
    put(tmp_path, 1, here())
    other = here()
    other["versions"] = {"nusa-bench": "0.5.0", "torch": "2"}
    other["git"] = {"commit": "def", "uncommitted_changes": False}
    found, said = parts(tmp_path, other, 3)
    assert "(commit def, before abc; nusa-bench 0.5.0, before 0.4.0)" in said and len(found) == 2


def test_a_new_run_has_no_parts_nor_one_whose_run_json_is_older_or_damaged(tmp_path: Path) -> None:
    assert parts(tmp_path, here(), 3) == ([], "")
    put(tmp_path, 1, {"status": "running"})
    assert "threads 2, before unknown" in parts(tmp_path, here(), 3)[1]
    damaged: list[Any] = [
        3, [], [3], [{"state": "x"}], [{"state": True}], [{"versions": {}}], [{"state": -5}], [{"state": 5}, {"state": 1}],
        [{"state": 0}, {"state": 99}], [{"state": 0, "versions": "x"}], [{"state": 0, "git": 3}],
    ]  # fmt: skip
    for wrong in damaged:
        put(tmp_path, 1, {"parts": wrong})
        with pytest.raises(UserError, match=r"run\.json: damaged, (its parts begin|parts)"):
            parts(tmp_path, here(), 3)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="damaged checkpoint"):
        parts(tmp_path, here(), 3)


def test_tables_name_both_versions_and_machines(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_run(tmp_path / str(seed), np.full((3, 2), 50.0), ["one", "two"], seed=seed)
    file = tmp_path / "1" / "run.json"
    about = json.loads(file.read_text())
    both = [{"state": 0, **here()}, {"state": 1, **here(threads=1), "versions": {"nusa-bench": "0.5.0"}}]
    file.write_text(json.dumps({**about, "parts": both}))
    (group,) = sort([tmp_path / "1"]).groups
    assert notes(group) == [
        "Made by different versions of this project, whose results may differ. 0.4.0 and 0.5.0: NuSA-CL."
    ]
    assert machine(group.first) == "a, 2 threads, then a, 1 thread"
    file.write_text(json.dumps({**about, "parts": [{"state": 0, "hardware": 3}]}))
    (line,) = sort([tmp_path / "1"]).left_out
    assert "run.json: damaged, parts.0.hardware" in line
