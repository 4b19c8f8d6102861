"""One run in two processes: the figures of one process, the same wrong inputs, and a process that is lost."""

import functools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from safetensors.numpy import load_file

from benchmarks import api as nb
from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.experiment.backbones.loading import MICRO, WEIGHTS
from benchmarks.run import main
from benchmarks.runs.read import read
from benchmarks.runs.write import MODEL
from benchmarks.runtime import files, process_group, processes
from tests.conftest import ROOT


BRIEF = ("--order", "shapes,clocks", "--iterations", "12", "--batch-size", "8", "--device", "cpu")  # with gloo
PLAIN = ("-m", "benchmarks.run")
# The same with another epsilon: Adam divides by a gradient's size, so of a gradient that is next to nothing, whose sign is
# rounding, it makes a whole step, one way in one process and the other way in two.
STEADY = """
import functools, sys
import torch
from benchmarks import run

torch.optim.AdamW = functools.partial(torch.optim.AdamW, eps=1e-3)
sys.exit(run.main(sys.argv[1:]))
"""


def start(*words: object) -> subprocess.Popen[str]:
    """`torchrun --nproc-per-node 2 -m benchmarks.run WORDS`."""
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            *PLAIN,
            *map(str, words),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def folder(results: Path) -> Path:
    return next(results.rglob("config.yaml")).parent


def assert_two_are_one(
    words: Sequence[object], untrained: Path, image: float, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run in two processes ends with the weights and matrices of the same run in this process.

    Args:
        untrained: the weights that it begins with.
        image: percent that one test image is, by which an accuracy may differ.
    """
    ends = pair([*words, "--results", place / "two"], *[("-c", STEADY)] * 2)
    assert all(end.returncode == 0 for end in ends), ends[0].stderr
    assert [end.stderr.count("before training") for end in ends] == [1, 0]  # one of them speaks
    monkeypatch.setattr(torch.optim, "AdamW", functools.partial(torch.optim.AdamW, eps=1e-3))  # as in `STEADY`
    assert main([*map(str, words), "--results", str(place / "one")]) == 0
    one, two = folder(place / "one"), folder(place / "two")
    for identity, matrix in read(one).accuracy.items():
        np.testing.assert_allclose(read(two).accuracy[identity], matrix, atol=image + 0.1, err_msg=identity)
    weights, others, before = (load_file(file) for file in (one / MODEL, two / MODEL, untrained))
    assert max(np.abs(weights[name] - before[name]).max() for name in weights) > 1e-3
    for name, weight in weights.items():
        np.testing.assert_allclose(others[name], weight, atol=1e-5, err_msg=name)


def test_two_processes_give_the_matrix_of_one(
    images: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*brief(images, tiny_clip, "nusa"), "--rank", 4, "--lr", "1e-2"]
    assert_two_are_one(words, tiny_clip / WEIGHTS, 100 / 8, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["nusa", "finetune", "lora", "inflora", "olora", "joint"])
def test_two_processes_give_the_matrix_of_one_on_micro(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--strategy", strategy, *BRIEF, "--no-plots"]
    assert_two_are_one(words, MICRO / WEIGHTS, 100 / 300, tmp_path, monkeypatch)


class Stop(nb.Callback):
    def on_task_begin(self, run: nb.RunState) -> None:
        raise KeyboardInterrupt


@pytest.mark.slow
def test_a_lost_process_ends_the_run_and_it_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings: dict[str, Any] = {
        "strategy": "nusa",
        "order": "shapes,clocks",
        "iterations": "12,clocks=100000",
        "batch_size": 8,
    }
    words = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    run = start(*words, "--device", "cpu", "--results", tmp_path)
    deadline = time.monotonic() + 300
    while not any("\n1," in table.read_text() for table in tmp_path.rglob("accuracy.csv")):  # the first task is done
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    children = psutil.Process(run.pid).children()
    next(child for child in children if child.environ().get("RANK") == "1").send_signal(signal.SIGKILL)
    run.communicate(timeout=120)
    assert run.returncode != 0
    assert (folder(tmp_path) / "checkpoint.safetensors").is_file()
    # The checkpoint is a run's of these settings, in one process or two.
    with pytest.raises(KeyboardInterrupt):
        nb.run(**settings, device="cpu", results=tmp_path, use_cache=False, callbacks=[Stop()])
    assert "going on after 1 of 2 tasks" in capsys.readouterr().err


# The same, but dies like a killed process in the middle of the second task, as the other waits for its gradients.
DYING = """
import os, signal, sys
from benchmarks import run
from strategies.training.template import ClipTemplate

step = ClipTemplate.optimizer_step

def dying(template):
    if template.task == 1 and template.clock.train_exp_iterations == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    step(template)

ClipTemplate.optimizer_step = dying
sys.exit(run.main(sys.argv[1:]))
"""


# The same, but stands still there, so that the other waits for it inside torch, where no handler of Python's runs.
STANDING = DYING.replace("SIGKILL", "SIGSTOP")


def begin(words: Sequence[object], *starts: Sequence[str]) -> list[subprocess.Popen[str]]:
    """Two processes of one run without torchrun, which would end the survivor."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    return [
        subprocess.Popen(
            [sys.executable, *start, *map(str, words)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **together, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank, start in enumerate(starts)
    ]  # fmt: skip


def pair(words: Sequence[object], *starts: Sequence[str]) -> list[subprocess.CompletedProcess[str]]:
    """How each of two processes ended, and what it said."""
    started = begin(words, *starts)
    said = [process.communicate(timeout=300) for process in started]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *each)
        for process, each in zip(started, said, strict=True)
    ]


def brief(images: Path, tiny_clip: Path, strategy: str = "finetune") -> tuple[object, ...]:
    """A run of seconds: three tasks of 6 steps on the tiny model."""
    fixed = ("--no-plots", "--strategy", strategy, "--stream", f"folder:{images}", "--model", f"local-dir:{tiny_clip}")
    return (*fixed, "--iterations", 6, "--batch-size", 4, "--device", "cpu")


@pytest.mark.parametrize("lost", [1, pytest.param(0, marks=pytest.mark.slow)])  # the first is the one that speaks
def test_the_survivor_of_a_lost_process_says_so_in_a_line_and_one_process_goes_on(
    lost: int, images: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    starts: list[Sequence[str]] = [PLAIN, PLAIN]
    starts[lost] = ("-c", DYING)
    ends = pair([*brief(images, tiny_clip), "--results", tmp_path], *starts)
    survivor = ends[1 - lost]
    assert ends[lost].returncode == -signal.SIGKILL
    assert survivor.returncode == 2
    assert "Traceback" not in survivor.stderr
    (line,) = (line for line in survivor.stderr.splitlines() if "error" in line.lower())
    assert line.startswith("error: another process of this run was lost, or can't be reached (")
    assert "typically" not in line  # gloo's advice
    assert line.endswith("); the same command goes on after the last finished task")
    assert main([*map(str, brief(images, tiny_clip)), "--results", str(tmp_path)]) == 0
    assert "going on after 1 of 3 tasks" in capsys.readouterr().err


@pytest.mark.usefixtures("signals_heard")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_process_that_waits_for_another_is_ended_by_a_signal_and_leaves_the_run_interrupted(
    number: int, images: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, other = begin([*brief(images, tiny_clip), "--results", tmp_path], PLAIN, ("-c", STANDING))
    try:
        while psutil.Process(other.pid).status() != psutil.STATUS_STOPPED:
            assert first.poll() is None and other.poll() is None
            time.sleep(0.1)
        first.send_signal(number)
        said = first.communicate(timeout=60)[1]
    finally:
        first.kill()
        other.kill()
        other.communicate()
    assert first.returncode == 128 + number
    assert said.endswith("\ninterrupted; the same command goes on after the last finished task\n")
    assert "Traceback" not in said
    assert files.read_json(folder(tmp_path) / "run.json")["status"] == "interrupted"
    assert main([*map(str, brief(images, tiny_clip)), "--results", str(tmp_path)]) == 0
    assert "going on after 1 of 3 tasks" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("signals_heard")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_torchrun_passes_a_signal_on_and_the_run_goes_on(
    number: int, images: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*map(str, brief(images, tiny_clip)), "--iterations", "6,bees=100000", "--results", str(tmp_path)]
    run = start(*words)
    while not any("\n1," in table.read_text() for table in tmp_path.rglob("accuracy.csv")):  # the first task is done
        assert run.poll() is None
        time.sleep(0.2)
    run.send_signal(number)
    said, _ = run.communicate(timeout=120)
    assert said.count("interrupted; the same command goes on after the last finished task") == 1
    assert files.read_json(folder(tmp_path) / "run.json")["status"] == "interrupted"
    again = start(*words)
    assert again.stdout
    assert any("going on after 1 of 3 tasks" in line for line in again.stdout)
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=120)


@pytest.mark.slow
def test_after_a_lost_process_the_same_command_ends_with_the_same_figures(
    images: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    halves, whole = tmp_path / "halves", tmp_path / "whole"
    pair([*brief(images, tiny_clip), "--results", halves], PLAIN, ("-c", DYING))
    again, _ = pair([*brief(images, tiny_clip), "--results", halves], PLAIN, PLAIN)
    assert again.returncode == 0, again.stderr
    assert "going on after 1 of 3 tasks" in again.stderr
    straight, _ = pair([*brief(images, tiny_clip), "--results", whole], PLAIN, PLAIN)
    assert straight.returncode == 0, straight.stderr
    for name in ("accuracy.csv", "rank.csv", "metrics.json", "model.safetensors"):
        assert (folder(halves) / name).read_bytes() == (folder(whole) / name).read_bytes(), name


@pytest.mark.slow
def test_torchrun_passes_a_wrong_input_on(tmp_path: Path) -> None:
    run = start("--batch-size", "7", "--results", tmp_path)
    said, _ = run.communicate(timeout=300)
    assert run.returncode == 1  # torchrun's own, whatever it was
    assert said.count("error: --batch-size 7: can't be shared evenly by 2 processes") == 1
    assert not list(tmp_path.rglob("config.yaml"))


@pytest.mark.parametrize(
    ("strategy", "batch", "data_parallel", "message"),
    [
        ("nusa", 7, True, "--batch-size 7: can't be shared evenly by 2 processes; take a multiple of 2"),
        ("nusa", 8, True, "WORLD_SIZE=2 is set and LOCAL_RANK is not; start it by torchrun, or unset WORLD_SIZE"),
        ("lwf", 8, False, "--strategy lwf: its training looks at a batch as a whole, so it runs in one process only"),
    ],
)
def test_what_can_not_be_shared_is_refused(
    strategy: str, batch: int, data_parallel: bool, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert registry.strategy_of(strategy).plugin().data_parallel == data_parallel
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun starts the first, in part
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UserError) as error:
        processes.check(strategy, batch, data_parallel)
    assert message in str(error.value)


# Left in the environment by some other program: what it means for a run that nobody started by torchrun.
@pytest.mark.parametrize("left", [{"RANK": "3"}, {"RANK": "x"}, {"WORLD_SIZE": "1", "RANK": "1"}, {"WORLD_SIZE": ""}])
def test_a_run_of_one_process_is_the_first_whatever_rank_another_launcher_left(
    left: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    assert processes.count() == 1 and processes.is_first()
    processes.check("nusa", 7, True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WORLD_SIZE", "abc", "WORLD_SIZE=abc: no number of processes; start it by torchrun, or unset WORLD_SIZE"),
        ("WORLD_SIZE", "0", "WORLD_SIZE=0: no number of processes"),
        ("WORLD_SIZE", "-2", "WORLD_SIZE=-2: no number of processes"),
        ("RANK", "2", "WORLD_SIZE=2 is set and RANK=2 is no number from 0 to 1; start it by torchrun"),
        ("RANK", "", "WORLD_SIZE=2 is set and RANK is not"),
        ("LOCAL_RANK", "x", "WORLD_SIZE=2 is set and LOCAL_RANK=x is no number from 0 to 1"),
        ("MASTER_PORT", "65536", "WORLD_SIZE=2 is set and MASTER_PORT=65536 is no number from 0 to 65535"),
    ],
)
def test_variables_that_torchrun_never_sets_so_are_refused(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
    for each in whole.items():
        monkeypatch.setenv(*each)
    processes.check("nusa", 8, True)
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as error:
        processes.check("nusa", 8, True)
    assert message in str(error.value)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_process_whose_others_never_come_says_so_and_ends(
    rank: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    left = {"WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank, "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    for each in left.items():
        monkeypatch.setenv(*each)
    monkeypatch.setattr(process_group, "TO_MEET", timedelta(seconds=2))
    monkeypatch.setattr(process_group, "SPEAKS", 0)
    with pytest.raises(UserError) as error, process_group.joined("cpu"):
        pass
    told = (
        f"the other processes of WORLD_SIZE=2 have not come to localhost:{port} within 0:00:02; start all by torchrun"
    )
    assert told in str(error.value)
    assert f"process {rank} waits for the other processes of WORLD_SIZE=2 at localhost:{port}" in capfd.readouterr().err
