"""`python -m benchmarks.sweep` as a user calls it, with a Ray of its own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks import api as nb
from benchmarks.config.errors import UserError
from benchmarks.config.registry import ROOT
from benchmarks.sweep.door import plan, shared_by_all
from benchmarks.sweep.file import block
from tests.run_folders import write_run


TINY = ("--order", "[arrows,clocks]", "--set", "iterations=3", "--set", "batch_size=8")
ALONE = ("--order", "arrows,clocks", "--iterations", "3", "--batch-size", "8", "--no-plots")


def called(module, *words, before=(), **changed):
    return subprocess.run(
        [*before, sys.executable, "-m", module, *map(str, words)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1", **changed}, capture_output=True, text=True,
    )  # fmt: skip


def sweep(*words, **changed):
    return called("benchmarks.sweep", *words, **changed)


def own(tmp_path, name, does):
    """A strategy of one's own that does something else than train."""
    file = tmp_path / f"{name}.py"
    file.write_text(
        f'"""{name}."""\n\nimport os, time\nfrom pydantic.dataclasses import dataclass\n'
        "from strategies.finetune import Plugin as Finetune\n\n\n@dataclass(frozen=True)\nclass Settings:\n    pass\n\n\n"
        f"class Plugin(Finetune):\n    def plugins(self):\n        {does}\n"
    )
    return file


def test_help_and_plans_need_no_ray_and_no_torch(tmp_path):
    code = (
        "import sys; from benchmarks.sweep.__main__ import main\n"
        f"words = ['--strategy', 'nusa,lora', '--seed', '1..3', '--results', {str(tmp_path)!r}, '--dry-run']\n"
        "main(words, standalone_mode=False)\n"
        "assert not {'ray', 'torch'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "6 runs: 6 to do"
    assert done.stdout.splitlines()[0].split() == ["to", "do", "micro/nusa/seed1"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no grid: name a file, or values"),
        (("--seed", ""), "seed: .*an alternative is empty"),
        (("--set", "rho"), "--set rho: expected NAME=VALUES"),
        (("--set", "rho=0.9", "--set", "rho=0.8"), "--set rho: named twice"),
        (("--seed", "1", "--set", "seed=2"), "seed: named twice"),
        (("none.yaml",), "none.yaml: cannot be read"),
        (("none.yaml", "--seed", "1"), "--seed: the grid is read from none.yaml"),
        (("none.yaml", "--search", "lr=1"), "--search: the grid is read from none.yaml"),
        (("--set", "device=cuda", "--gpus-per-run", "0"), "device cuda .*: the runs have no GPU"),
        (("--seed", "1", "--status", "--dry-run"), "one of them at a time"),
        (("--strategy", "lora", "--set", "rho=1"), "rho: a setting of"),
        (("--seed", "1", "--cpus-per-run", "0"), "--cpus-per-run: expected a whole number from 1, got 0"),
        (("--seed", "1", "--scratch", ""), "--scratch.: empty; name a file or folder"),
        (("--seed", "1", "--address", ""), "--address: expected HOST:PORT or auto, got .."),
        (("--seed", "1", "--gpus-per-run", "1.5"), "--gpus-per-run: expected a share"),
        (("--seed", "1", "--gpus-per-run", "nan"), "--gpus-per-run: expected a share"),
        (("--seed", "1", "--timeout", "nan"), "--timeout: expected seconds above 0"),
        (("--seed", "1", "--gpus-per-run", "1"), "--gpus-per-run 1: no machine here has a GPU"),
        (("--search", "lr=1e-3,1e-2", "--order", "shapes,clocks"), "a search needs several tasks"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, words, message):
    done = sweep(*words, "--results", tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert re.search(message, line), line
    assert not list(tmp_path.iterdir())


def test_a_search_that_is_done_needs_no_ray(tmp_path):
    """As after printed commands on a cluster without it; what `nb.sweep` writes is what the command writes."""
    grid = {"strategy": ["nusa"], "search": {"lr": ["1e-3", "1e-2"]}}
    for cell in plan([block(grid, "")], shared_by_all(tmp_path)).cells:
        write_run(cell.folder, np.full((6, 5), 50.0), list("abcde"), **cell.request.config.flat())
    code = (
        "import sys; sys.modules['ray'] = None; from benchmarks.sweep.__main__ import main; main(standalone_mode=False)"
    )
    words = ["--strategy", "nusa", "--search", "lr=1e-3,1e-2", "--results", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"nusa +lr=0\.001 +2 +1 +50\.00 +50\.00 +learning, average", done.stdout), done.stdout
    (recipe,) = tmp_path.glob("search-*.yaml")
    before = recipe.read_text()
    found = nb.sweep(grid, results=tmp_path, silent=True)
    assert found.chosen == {"nusa": {"lr": 1e-3}}
    assert recipe.read_text() == before and len(list(tmp_path.glob("search-*"))) == 3


@pytest.mark.parametrize(
    "wrong", [{"measure": 5}, {"measure": [3]}, {"scratch": 3}, {"plots": "yes"}, {"retry_failed": 1}, {"silent": "no"}]
)
def test_wrong_arguments_from_python(tmp_path, wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))}: expected"):
        nb.sweep({"strategy": "zeroshot"}, results=tmp_path, **wrong)
    assert not list(tmp_path.iterdir())


def test_twice_in_one_process(tmp_path):
    """Ray is started and ended for each sweep."""
    pytest.importorskip("ray")
    code = (
        "import sys; from benchmarks import api as nb\n"
        "grid = {'strategy': 'zeroshot', 'order': ['arrows,clocks']}\n"
        "for place in sys.argv[1:]:\n"
        "    found = nb.sweep(grid, results=place, silent=True)\n"
        "    print(len(found.runs), found.failed)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "one"), str(tmp_path / "two")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["1 {}", "1 {}"], done.stderr


def test_printed_commands_are_ordinary(tmp_path):
    done = sweep("--strategy", "nusa,finetune", "--set", "rho=0.9,0.95", "--results", tmp_path, "--print-commands")
    assert done.stdout.splitlines() == [
        f"python -m benchmarks.run --strategy nusa --rho 0.9 --results {tmp_path} --no-plots",
        f"python -m benchmarks.run --strategy nusa --rho 0.95 --results {tmp_path} --no-plots",
        f"python -m benchmarks.run --strategy finetune --results {tmp_path} --no-plots",
    ]


@pytest.mark.skipif(not shutil.which("taskset"), reason="taskset, of util-linux, is not installed")
def test_a_sweep_gives_the_bytes_of_single_commands(tmp_path):
    """A failing run and four good ones by one worker, of which the third and the last are compared; the same command then
    does nothing, and `--retry-failed` the failing one.
    """
    pytest.importorskip("ray")
    does = 'assert "BROKEN" not in os.environ, chr(97)\n        return super().plugins()'
    strategies = ("lora", "zscl", "avalanche:ewc", "nusa")
    grid = (
        "--strategy",
        ",".join([str(own(tmp_path, "failing", does)), *strategies]),
        *TINY,
        "--results",
        tmp_path / "many",
    )
    one_processor = ("taskset", "-c", str(min(os.sched_getaffinity(0))))
    done = sweep(*grid, before=one_processor, BROKEN="1")
    assert done.returncode == 1, done.stderr
    assert "4 of 5 runs finished" in done.stdout
    assert "failed: micro/failing/" in done.stderr and "AssertionError: a; log: " in done.stderr
    assert "Traceback" not in done.stderr
    for strategy in ("zscl", "nusa"):
        assert called("benchmarks.run", "--strategy", strategy, *ALONE, "--results", tmp_path / "one").returncode == 0
        (one,), (many,) = ((tmp_path / place / "micro" / strategy).iterdir() for place in ("one", "many"))
        assert one.name == many.name
        tables = {file.name: file.read_bytes() for file in one.glob("*.csv") if file.name != "cost.csv"}
        assert tables == {name: (many / name).read_bytes() for name in tables} and len(tables) == 6
        about = [json.loads((folder / "run.json").read_text()) for folder in (one, many)]
        assert [each["hardware"]["threads"] for each in about] == [1, 1]
        assert about[1]["command"].startswith(f"python -m benchmarks.run --strategy {strategy} --order arrows,clocks")
    assert not list((tmp_path / "many").glob(".sweep*"))
    again = sweep(*grid)
    assert again.returncode == 1 and "4 of 5 runs finished" in again.stdout
    status = sweep(*grid, "--status")
    assert status.stdout.splitlines()[0] == "5 runs: 4 finished, 1 failed"
    assert "AssertionError: a" in status.stdout
    tried = sweep(*grid, "--retry-failed")
    assert tried.returncode == 0 and "5 of 5 runs finished" in tried.stdout, tried.stderr


STOPS = [signal.SIGKILL, *(pytest.param(each, marks=pytest.mark.slow) for each in (signal.SIGTERM, signal.SIGINT))]


@pytest.mark.usefixtures("signals_heard")
@pytest.mark.parametrize("number", STOPS)
def test_a_driver_that_is_stopped_goes_on(tmp_path, number):
    pytest.importorskip("ray")
    words = ("--strategy", "nusa", "--seed", "1..3", "--order", "[arrows,clocks,colours]", "--set", "iterations=60")
    command = [sys.executable, "-m", "benchmarks.sweep", *words, "--results", str(tmp_path)]
    driver = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.rglob("checkpoint.safetensors")):
        assert driver.poll() is None
        time.sleep(0.1)
    driver.send_signal(number)
    errors = driver.communicate()[1]
    assert driver.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    if number != signal.SIGKILL:
        assert "interrupted; the same command goes on" in errors and "Traceback" not in errors
    done = sweep(*words, "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 runs finished" in done.stdout
    alone = ("--strategy", "nusa", "--seed", "1", "--order", "arrows,clocks,colours", "--iterations", "60")
    assert called("benchmarks.run", *alone, "--no-plots", "--results", tmp_path / "one").returncode == 0
    (one,) = (tmp_path / "one").rglob("accuracy.csv")
    assert one.read_bytes() == (tmp_path / one.relative_to(tmp_path / "one")).read_bytes()


@pytest.mark.slow
def test_what_keeps_a_run_from_its_end_does_not_keep_the_others(tmp_path):
    """Memory that runs out, a process that dies, one that hangs: each is tried again, then recorded with its line."""
    pytest.importorskip("ray")
    bad = {
        "large": "raise MemoryError",
        "dying": "os._exit(1)",
        "hanging": "time.sleep(1000)",
    }
    files = [str(own(tmp_path, name, does)) for name, does in bad.items()]
    grid = ("--strategy", ",".join(["finetune", *files]), *TINY, "--results", tmp_path / "many", "--timeout", 15)
    done = sweep(*grid)
    assert done.returncode == 1, done.stderr
    assert "1 of 4 runs finished" in done.stdout
    assert "Traceback" not in done.stderr
    assert re.search("micro/large/.*: out of memory; tried again alone at the end", done.stderr)
    assert re.search("failed: micro/large/.*: out of memory; try --checkpointing", done.stderr)
    assert re.search("micro/dying/.*: its worker was lost .*; tried again alone at the end", done.stderr)
    assert re.search("failed: micro/dying/.*: its worker was lost 3 times at the same task", done.stderr)
    assert re.search("failed: micro/hanging/.*: its worker was lost 3 times .*: it said nothing for", done.stderr)
    again = sweep(*grid, "--dry-run")
    assert again.stdout.splitlines()[-1] == "4 runs: 1 finished, 3 failed"


@pytest.mark.slow
def test_a_run_that_goes_on_elsewhere_is_waited_for(tmp_path):
    pytest.importorskip("ray")
    words = (
        "--strategy",
        "nusa",
        "--order",
        "arrows,clocks",
        "--iterations",
        "100",
        "--no-plots",
        "--results",
        str(tmp_path),
    )
    alone = subprocess.Popen([sys.executable, "-m", "benchmarks.run", *words], cwd=ROOT, stderr=subprocess.DEVNULL)
    while not list(tmp_path.rglob(".holder")):
        assert alone.poll() is None
        time.sleep(0.1)
    done = sweep("--strategy", "nusa", "--order", "[arrows,clocks]", "--set", "iterations=100", "--results", tmp_path)
    assert alone.wait() == 0
    assert done.returncode == 0 and "1 of 1 runs finished" in done.stdout, done.stderr


def test_a_dry_run_lists_the_runs_though_data_are_missing(tmp_path):
    grid = ("--strategy", "nusa", "--stream", "mtil", "--seed", "1..2", "--data-root", tmp_path / "none")
    found = sweep(*grid, "--results", tmp_path / "results", "--dry-run")
    assert found.returncode == 2 and "data root" in found.stderr
    assert found.stdout.count("mtil/nusa/seed") == 2 and "2 runs: 2 to do" in found.stdout


def test_a_start_with_commas_in_its_name_stands_in_brackets(tmp_path):
    place = tmp_path / "seed42,order=II"
    found = sweep("--strategy", "nusa", "--set", f"start_from=[{place}]", "--results", tmp_path, "--dry-run")
    assert f"--start-from {place}: no such run folder" in found.stderr
