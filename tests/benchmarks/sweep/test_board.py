"""The actor on the driver's machine: who may write into a run folder there."""

import pytest

from benchmarks.config.errors import UserError
from benchmarks.runs.write import locked
from benchmarks.sweep.board import Board
from benchmarks.sweep.outcomes import Progress


NAME = "micro/nusa/seed1"


def test_with_a_scratch_folder_the_driver_holds_the_lock(tmp_path):
    one, two = Board(tmp_path, holds=True), Board(tmp_path, holds=True)
    assert one.begin(NAME, 1) is None
    refused = two.begin(NAME, 1)
    assert refused and refused.status == "busy" and "another run is writing here" in refused.error
    one.forget(NAME)
    assert two.begin(NAME, 2) is None
    two.release()
    assert not (tmp_path / NAME / ".holder").exists()
    assert one.begin(NAME, 3) is None


def test_else_the_workers_hold_it(tmp_path):
    board = Board(tmp_path)
    with locked(tmp_path / NAME):
        assert board.begin(NAME, 1) is None


def test_a_folder_that_cannot_be_made_fails_its_run(tmp_path):
    (tmp_path / "micro").write_text("")
    refused = Board(tmp_path, holds=True).begin(NAME, 1)
    assert refused and refused.status == "failed" and "cannot be written" in refused.error


def test_an_earlier_worker_is_not_listened_to(tmp_path):
    board = Board(tmp_path)
    board.begin(NAME, 1)
    board.begin(NAME, 2)
    assert board.tell(NAME, 1, Progress(1, 2))  # told to end
    board.store(NAME, 1, {"run.json": b"{}"}, [])
    assert board.read() == {} and not (tmp_path / NAME).exists()
    assert not board.tell(NAME, 2, Progress(1, 2))
    assert board.read()[NAME].learned == 1


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / NAME).mkdir(parents=True)
    (tmp_path / NAME / "plots").symlink_to(tmp_path / "outside")
    board = Board(tmp_path)
    board.begin(NAME, 1)
    with pytest.raises(UserError, match="plots: a link, through which nothing is written"):
        board.store(NAME, 1, {"plots/rank.png": b"", "run.json": b"{}"}, [])
    assert not list((tmp_path / "outside").iterdir()) and not (tmp_path / NAME / "run.json").exists()
