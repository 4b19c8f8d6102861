"""Where the runs of a sweep stand, from their folders alone."""

import json
import os
import shutil
import socket

import numpy as np
import pytest

from benchmarks.config.errors import UserError
from benchmarks.runs.pack import pack
from benchmarks.sweep.states import forget_failure, note_failure, standing
from tests.run_folders import write_run


SECONDS = {
    "training": [3.0, 4.0],
    "decomposition": [1.0, 1.0],
    "evaluation": [9.0, 2.0, 2.0],
    "spectrum": [9.0, 1.0, 1.0],
}


def begun(folder, status="running"):
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"status": status}))
    (folder / "cost.json").write_text(json.dumps({"seconds": SECONDS}))
    return folder


def test_nothing_there(tmp_path):
    assert standing(tmp_path / "seed1").state == "to do"


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_begun_and_stopped(tmp_path, status):
    found = standing(begun(tmp_path / "seed1", status))
    assert found.state == "interrupted"
    assert found.seconds == (7.0, 8.0)


@pytest.mark.parametrize(
    "cost", ['{"peak_memory_bytes": Infinity, "seconds": %s}', '{"seconds": {"training": [Infinity]}}', "[1]"]
)
def test_odd_costs_are_none(tmp_path, cost):
    folder = begun(tmp_path / "seed1")
    (folder / "cost.json").write_text(cost.replace("%s", json.dumps(SECONDS)))
    found = standing(folder)
    assert (found.seconds, found.memory) == ((), 0)


def test_running_while_its_process_lives(tmp_path):
    folder = begun(tmp_path / "seed1")
    (folder / ".holder").write_text(f"{os.getpid()}\n{socket.gethostname()}\n")
    assert standing(folder).state == "running"
    (folder / ".holder").write_text(f"{2**22 + 1}\n{socket.gethostname()}\n")  # no process has this number
    assert standing(folder).state == "interrupted"
    (folder / ".holder").write_text("17\nanother-machine\n")
    assert standing(folder).state == "running"


def test_failed_until_it_is_forgotten(tmp_path):
    folder = begun(tmp_path / "seed1", "failed")
    note_failure(folder, "task 1 (clocks), step 3: the loss is not finite", "/log.txt")
    found = standing(folder)
    assert (found.state, found.why, found.log) == (
        "failed", "task 1 (clocks), step 3: the loss is not finite", "/log.txt"
    )  # fmt: skip
    forget_failure(folder)
    forget_failure(folder)
    assert standing(folder).state == "interrupted"


def test_failed_although_a_lost_worker_left_its_name(tmp_path):
    folder = begun(tmp_path / "seed1")
    (folder / ".holder").write_text("17\nanother-machine\n")
    note_failure(folder, "its worker was lost", "")
    assert standing(folder).state == "failed"


def test_finished_counts_more_than_an_earlier_failure(tmp_path):
    folder = begun(tmp_path / "seed1", "finished")
    note_failure(folder, "x", "")
    assert standing(folder).state == "finished"


def test_packed(tmp_path):
    folder = write_run(tmp_path / "seed1", np.full((3, 2), 50.0), ["a", "b"])
    pack(folder)
    shutil.rmtree(folder)
    assert standing(folder).state == "finished"


@pytest.mark.parametrize("text", ["[]", "{", "3"])
def test_damaged(tmp_path, text):
    folder = begun(tmp_path / "seed1")
    (folder / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"run\.json: damaged"):
        standing(folder)


@pytest.mark.parametrize("name", ["failure.json", ".holder"])
def test_a_pipe_does_not_hang(tmp_path, name):
    os.mkfifo(tmp_path / name)
    if name == ".holder":
        assert standing(tmp_path).state == "to do"
    else:
        with pytest.raises(UserError, match=r"failure.json: no plain file; delete it"):
            standing(tmp_path)
