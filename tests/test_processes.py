"""One run in two processes: the figures of one process, the same wrong inputs, and a process that is lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from benchmarks.runs import read
from tests.conftest import ROOT, command


BRIEF = ("--order", "shapes,clocks", "--iterations", "12", "--batch-size", "8")


def start(*words: object) -> subprocess.Popen[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.Popen(
        [*torchrun, "-m", "benchmarks.run", *map(str, words)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def folder(results: Path) -> Path:
    return next(results.rglob("config.yaml")).parent


def assert_same(one: Path, two: Path) -> None:
    for identity, matrix in read(one).accuracy.items():
        np.testing.assert_allclose(read(two).accuracy[identity], matrix, atol=0.4, err_msg=identity)  # an image of 300
    weights, others = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    for name, weight in weights.items():
        # A key's bias changes no attention: its gradient is rounding alone, which Adam makes steps of.
        parts = ... if "in_proj_bias" not in name else np.r_[: len(weight) // 3, 2 * len(weight) // 3 : len(weight)]
        np.testing.assert_allclose(others[name][parts], weight[parts], atol=2e-4, err_msg=name)


@pytest.mark.parametrize("strategy", ["nusa", pytest.param("finetune", marks=pytest.mark.slow)])
def test_two_processes_give_the_matrix_of_one(strategy: str, tmp_path: Path) -> None:
    words = ("--strategy", strategy, *BRIEF, "--results")
    assert command(*words, tmp_path / "one").returncode == 0
    two = start(*words, tmp_path / "two")
    said, _ = two.communicate(timeout=600)
    assert two.returncode == 0, said
    assert said.count("before training") == 1  # one of them speaks
    assert_same(folder(tmp_path / "one"), folder(tmp_path / "two"))


def test_a_lost_process_ends_the_run_and_it_goes_on(tmp_path: Path) -> None:
    slow = ("--strategy", "nusa", *BRIEF[:2], "--iterations", "12,clocks=100000", *BRIEF[4:], "--results", tmp_path)
    run = start(*slow)
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
    again = start(*slow)
    for line in again.stdout or ():
        if "going on after 1 of 2 tasks" in line:
            break
    else:
        raise AssertionError("it did not go on")
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=120)


def test_torchrun_passes_a_wrong_input_on(tmp_path: Path) -> None:
    run = start("--batch-size", "7", "--results", tmp_path)
    said, _ = run.communicate(timeout=300)
    assert run.returncode == 1  # torchrun's own, whatever it was
    assert said.count("error: --batch-size 7: can't be shared evenly by 2 processes") == 1
    assert not list(tmp_path.rglob("config.yaml"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--batch-size", "7"), "--batch-size 7: can't be shared evenly by 2 processes; take a multiple of 2"),
        (("--batch-size", "8"), "WORLD_SIZE=2 is set and LOCAL_RANK is not; start it by torchrun, or unset WORLD_SIZE"),
        (
            ("--strategy", "lwf"),
            "--strategy lwf: its training looks at a batch as a whole, so it runs in one process only",
        ),
    ],
)
def test_what_can_not_be_shared_is_refused(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    alone = {**os.environ, "WORLD_SIZE": "2", "RANK": "0"}  # as torchrun starts the first
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.run", *words, "--results", str(tmp_path)],
        cwd=ROOT, env=alone, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("config.yaml"))
