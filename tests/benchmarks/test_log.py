"""`--log`: event files and W&B's offline files read back, going on without doubles, and failures that end no run."""

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import api as nb
from benchmarks.experiment.loggers.base import chosen
from benchmarks.experiment.loggers.content import Entry, at_end, of_state
from tests.conftest import ROOT


BLOCK = 32768  # bytes
SETTINGS: dict[str, Any] = {"iterations": 12, "batch_size": 4, "device": "cpu", "silent": True}


def learn(images: Path, tiny_clip: Path, results: Path, strategy: str = "lwf", **more: Any) -> nb.Run:
    stream = f"folder:{images}"
    return nb.run(strategy, stream, model=f"local-dir:{tiny_clip}", results=results, **{**SETTINGS, **more})


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every scalar in a run's event files, in the order in which TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    found: dict[str, list[tuple[int, float]]] = {}
    for file in sorted((folder / "tensorboard").iterdir()):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "scalars":
                    found.setdefault(value.tag, []).append((event.step, float(make_ndarray(value.tensor))))
    return found


def records(file: Path) -> Iterator[bytes]:
    """The records of a file in LevelDB's log format, which W&B's offline files have after a header of 7 bytes."""
    data, at, found = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:  # the rest of a block that no header fits into
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])  # checksum, bytes, whole or which part
        found += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, last
            yield found
            found = b""


def rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's offline W&B files."""
    from wandb.proto import wandb_internal_pb2 as parts

    found = []
    for file in sorted((folder / "wandb").glob("offline-run-*/run-*.wandb")):
        for data in records(file):
            record = parts.Record()  # type: ignore[attr-defined]
            record.ParseFromString(data)
            items = record.history.item
            found.append({item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items})
    return found


def expected(run: nb.Run) -> list[Entry]:
    return [*(entry for state in range(4) for entry in of_state(run, state)), at_end(run)]


def test_what_is_sent_is_what_the_files_have(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    run = learn(images, tiny_clip, tmp_path, plots=False)
    history, (first, *_, last) = run.table("history"), of_state(run, 2)
    row = history[history.task == 2].iloc[0]
    assert (first.axis, first.at, first.values["train/loss"]) == ("step", 12 + 10, row.loss)
    assert last.values["accuracy/bees"] == run.accuracy["known"][2, 1] and (last.axis, last.at) == ("task", 2)
    assert last.values["accuracy/mean over tasks learned"] == run.accuracy["known"][2, :2].mean()
    rank = run.rank.query("after == 2 and tower == 'text' and matrix in ('q', 'k', 'v', 'o')").effective_rank.mean()
    assert last.values["rank/text/effective_rank"] == pytest.approx(rank)
    assert at_end(run).values["metrics/transfer"] == run.metrics["known"]["transfer"]
    places = [entry.place for entry in expected(run)[:-1]]
    assert places == sorted(set(places)) and len(places) == 3 * 2 + 4


def test_tensorboard(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    run = learn(images, tiny_clip, tmp_path, log=["tensorboard"])
    wanted: dict[str, list[tuple[int, Any]]] = {}
    for entry in expected(run):
        for name, value in entry.values.items():
            wanted.setdefault(name, []).append((entry.at, pytest.approx(value, rel=1e-6)))
    assert scalars(run.folder) == wanted
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    assert "plots/history" in shown.Tags()["images"] and "settings/text_summary" in shown.Tags()["tensors"]
    before = {file: file.stat().st_mtime_ns for file in (run.folder / "tensorboard").iterdir()}
    learn(images, tiny_clip, tmp_path, log=["tensorboard"])  # finished: nothing is sent twice
    assert {file: file.stat().st_mtime_ns for file in (run.folder / "tensorboard").iterdir()} == before


def test_a_run_that_goes_on_continues_both_logs(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    """Killed while it learns its second task; both logs then have every value once."""
    words = [
        "--strategy", "lwf", "--stream", f"folder:{images}", "--model", f"local-dir:{tiny_clip}", "--iterations", "12",
        "--batch-size", "4", "--results", str(tmp_path / "results"), "--log", "tensorboard,wandb",
    ]  # fmt: skip
    line, surroundings = [sys.executable, "-m", "benchmarks.run", *words], {**os.environ, "WANDB_MODE": "offline"}
    with subprocess.Popen(line, cwd=ROOT, env=surroundings, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for text in process.stderr:
            if b"1/3 ants" in text:  # evaluated, saved and sent; the second task has begun
                break
        os.kill(process.pid, signal.SIGKILL)
    assert subprocess.run(line, cwd=ROOT, env=surroundings, capture_output=True, check=False).returncode == 0
    (run,) = nb.load_runs(tmp_path / "results")
    sent = [(step, value) for step, value in scalars(run.folder)["train/loss"]]
    assert [step for step, _ in sent] == [10, 12, 22, 24, 34, 36]
    assert [row["step"] for row in rows(run.folder) if "train/loss" in row] == [10, 12, 22, 24, 34, 36]
    assert [row["task"] for row in rows(run.folder) if "accuracy/bees" in row] == [0, 1, 2, 3]
    (file,) = (run.folder / "wandb").glob("offline-run-*/run-*.wandb")
    before = file.stat().st_mtime_ns
    subprocess.run(line, cwd=ROOT, env=surroundings, capture_output=True, check=True)  # finished: nothing is sent again
    assert file.stat().st_mtime_ns == before


def test_a_logger_that_fails_does_not_end_the_run(
    images: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    run = learn(images, tiny_clip, tmp_path, "zeroshot", log=["wandb", "tensorboard"], plots=False)
    assert run.is_finished and (run.folder / "tensorboard").is_dir()
    assert capsys.readouterr().err.count("--log wandb: not logged in; call `wandb login` first") == 1


def test_wrong_loggers_are_refused_before_anything_starts(
    images: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(nb.UserError, match=r'--log: no logger "tensorbord" \(did you mean "tensorboard"\?\)'):
        learn(images, tiny_clip, tmp_path, log=["tensorbord"])
    with pytest.raises(nb.UserError, match="log: expected a list of names, got 'wandb'"):
        learn(images, tiny_clip, tmp_path, log="wandb")
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as where it is not installed
    with pytest.raises(nb.UserError, match=r'tensorboard is not installed; pip install "nusa-bench\[tensorboard\]"'):
        learn(images, tiny_clip, tmp_path, log=["tensorboard"])
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def zero_shot(images: Path, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learn(images, tiny_clip, tmp_path_factory.mktemp("runs"), "zeroshot", plots=False).folder


def damaged(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "wandb").mkdir()
        (folder / "wandb" / "run.json").write_text(text)

    return write


def piped(folder: Path) -> None:
    (folder / "wandb").mkdir()
    os.mkfifo(folder / "wandb" / "run.json")


@pytest.mark.parametrize(
    ("logger", "prepare", "message"),
    [
        ("wandb", damaged('{"id'), "wandb/run.json: damaged; delete it to send the run anew"),
        ("wandb", damaged('{"states": 9}'), "wandb/run.json: damaged"),
        ("wandb", damaged('{"id": "../../up", "ended": false}'), "wandb/run.json: damaged"),
        ("wandb", piped, "wandb/run.json: no plain file; delete it"),
        ("wandb", lambda folder: (folder / "wandb").symlink_to("/tmp"), "wandb: a link, or no folder"),
        ("tensorboard", lambda folder: (folder / "tensorboard").touch(), "tensorboard: a link, or no folder"),
        (
            "tensorboard",
            lambda folder: (folder / "tensorboard").symlink_to("/tmp"),
            "tensorboard: a link, or no folder",
        ),
    ],
)
def test_what_a_stranger_left_is_not_written_through(
    logger: str, prepare: Callable[[Path], None], message: str, zero_shot: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = shutil.copytree(zero_shot, tmp_path / "run")
    prepare(folder)
    (log,) = chosen([logger])
    log.follow(folder, to_the_end=True)
    said = capsys.readouterr().err
    assert log.failed and message in said and said.startswith(f"--log {logger}: {folder}") and said.count("\n") == 1


def test_wandb_stays_in_its_folder_and_leftovers_of_tensorboard_go(
    zero_shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = shutil.copytree(zero_shot, tmp_path / "run")
    (tmp_path / "outside").mkdir()
    (folder / ".wandb").symlink_to(tmp_path / "outside")
    (folder / "tensorboard" / ".new-killed").mkdir(parents=True)
    (folder / "tensorboard" / ".new-killed" / "events.out.tfevents.1").touch()
    for log in chosen(["wandb", "tensorboard"]):
        log.follow(folder, to_the_end=True)
        assert not log.failed
    assert not list((tmp_path / "outside").iterdir()) and len(rows(folder)) >= 4
    names = [file.name for file in sorted((folder / "tensorboard").iterdir())]
    assert names == [f"events.out.tfevents.{each}" for each in ("00000", "00001", "00002", "00003", "end")]
