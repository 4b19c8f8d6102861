"""A sweep on a real Ray cluster of two nodes on this machine, one of which is killed."""

import os
import subprocess
import sys
import time

import pytest

from benchmarks.config.registry import ROOT
from tests.benchmarks.sweep.test_sweep_command import own


pytest.importorskip("ray")

OPEN = {**os.environ, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}
GRID = ("--strategy", "nusa", "--seed", "1..20", "--order", "[arrows,clocks,colours]", "--set", "iterations=20")


@pytest.fixture
def cluster():
    """The process that holds the cluster, and the cluster's address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.sweep.nodes"],
        cwd=ROOT, env=OPEN, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout
    yield process, next(line.strip() for line in process.stdout if line[:1].isdigit())
    process.communicate(timeout=60)


def tell(cluster, what):
    cluster.stdin.write(f"{what}\n")
    cluster.stdin.flush()
    assert cluster.stdout.readline() == "done\n"


def started(*words):
    command = [sys.executable, "-m", "benchmarks.sweep", *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, env=OPEN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def figures(results):
    """The bytes of all csv files but the costs, by their path."""
    files = [file for file in results.rglob("*.csv") if file.name != "cost.csv"]
    return {file.relative_to(results).as_posix(): file.read_bytes() for file in files}


@pytest.mark.slow
@pytest.mark.parametrize("scratch", [False, True], ids=["one-disk", "no-common-disk"])
def test_a_lost_node_costs_at_most_a_task(cluster, tmp_path, scratch):
    nodes, address = cluster
    alone = started(*GRID, "--results", tmp_path / "alone")
    _, errors = alone.communicate(timeout=600)
    assert alone.returncode == 0, errors
    where = ("--scratch", tmp_path / "scratch") if scratch else ()
    sweep = started(*GRID, "--results", tmp_path / "many", "--address", address, *where)
    while len(list((tmp_path / "many").rglob("checkpoint.safetensors"))) < 2:
        assert sweep.poll() is None, sweep.stderr.read()
        time.sleep(0.1)
    tell(nodes, "lose")
    time.sleep(5)
    tell(nodes, "add")
    out, errors = sweep.communicate(timeout=600)
    assert sweep.returncode == 0, errors
    assert "20 of 20 runs finished" in out
    assert "its worker was lost" in errors
    assert figures(tmp_path / "many") == figures(tmp_path / "alone")
    logs = [file.read_text() for file in (tmp_path / "many").rglob("log.txt")]
    tasks = sum(text.count(f"{number}/3 ") for text in logs for number in (1, 2, 3))
    assert tasks in (60, 61)  # one of them twice by the lost worker's run, or none


@pytest.mark.slow
def test_a_machine_that_cannot_do_runs_gets_no_more(cluster, tmp_path):
    """On the second node every run fails at once; each is done on the first one, and none counts as failed."""
    _, address = cluster
    picky = own(tmp_path, "picky", 'assert "SECOND_NODE" not in os.environ, chr(98)\n        return super().plugins()')
    words = ("--strategy", picky, "--seed", "1..6", "--order", "[arrows,clocks]", "--set", "iterations=3")
    sweep = started(*words, "--results", tmp_path / "many", "--address", address)
    out, errors = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, errors
    assert "6 of 6 runs finished" in out
    assert "AssertionError: b; tried once on another machine" in errors
    assert "a machine gets no more runs, since 3 in a row failed there" in errors


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no Ray cluster answers there"),
        ("nowhere", "expected HOST:PORT"),
        ("ray://127.0.0.1:1", "expected HOST:PORT"),
        ("127.0.0.1:70000", "expected HOST:PORT"),
        ("127.0.0.1:\u00b2", "expected HOST:PORT"),
        ("a..b:80", "no Ray cluster answers there"),
    ],
)
def test_no_cluster_there(address, message, tmp_path):
    sweep = started("--seed", "1", "--address", address, "--results", tmp_path)
    _, errors = sweep.communicate(timeout=60)
    assert sweep.returncode == 2
    assert errors.startswith(f"error: --address {address}: {message}") and errors.count("\n") == 1
    assert not list(tmp_path.iterdir())
