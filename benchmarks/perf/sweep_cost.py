"""Measures a sweep: resolving thousands of runs, reading where they stand, and what it adds to its runs or saves of them."""

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.perf.timing import python


GRID = ("--strategy", "nusa,lora", "--seed", "0..2499", "--set", "lr=1e-3,1e-2")  # 10 000 runs
DOMAINS = ("--order", "[arrows,clocks,colours]", "--set", "iterations=20")
FEW, MORE = 2, 12  # runs whose difference is not start-up
# The command that follows, and then the most memory that it had in bytes, as the last line; on Linux.
WITH_MEMORY = """
import re, runpy, sys
try:
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
except SystemExit as ended:
    assert not ended.code, ended
print(int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) * 1024)
"""
# Runs one after the other in one process.
IN_ONE_PROCESS = """
import sys
from benchmarks import api as nb
for seed in range(int(sys.argv[2])):
    nb.run("nusa", order="arrows,clocks,colours", iterations=20, seed=seed, results=sys.argv[1], plots=False, silent=True)
"""


def called(*words: object, threads: int = 1) -> tuple[float, str]:
    """Runs Python in a new process; returns its seconds and what it printed.

    Args:
        words: the command-line arguments of Python.
        threads: of the process.

    Raises:
        UserError: the process failed; the message has the last line of its errors.
    """
    began = time.perf_counter()
    done = python(*map(str, words), threads=threads)
    return time.perf_counter() - began, done.stdout


def sweep(seeds: int, results: Path, *words: object) -> float:
    """Returns the seconds of a sweep of NuSA-CL over some seeds, three domains and 20 steps each.

    Args:
        seeds: their number.
        results: the folder of the runs.
        words: further options of the command.
    """
    grid = ("--strategy", "nusa", "--seed", f"0..{seeds - 1}", *DOMAINS)
    return called("-m", "benchmarks.sweep", *grid, "--results", results, *words)[0]


def singles(seeds: Sequence[int], results: Path) -> float:
    """Returns the seconds of the same runs by single commands, one after the other.

    Args:
        seeds: of the runs.
        results: the folder of the runs.
    """
    words = ("--strategy", "nusa", "--order", "arrows,clocks,colours", "--iterations", "20", "--no-plots")
    return sum(called("-m", "benchmarks.run", *words, "--seed", seed, "--results", results)[0] for seed in seeds)


def measure(place: Path) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part sweep` measures.

    Args:
        place: a folder for the runs.

    Returns:
        `resolved_10000_seconds`, `resolved_10000_peak_bytes`: the whole command that lists 10 000 runs, checked, and its
        most memory. `status_10000_seconds`: the whole command that counts 10 000 finished runs by their folders.
        `warm_run_extra_seconds`: what one more run takes in a sweep's one worker, less what one more takes in one process
        that does runs one after the other; 2 and 12 runs of three domains of `micro` and 20 steps.
        `single_commands_over_sweep`: seconds of 12 such runs by single commands one after the other / by a sweep, with
        its start-up, which has a worker of one thread for each processor. `processors`: their number.
    """
    command = ("-c", WITH_MEMORY, "benchmarks.sweep", *GRID)
    resolved, out = called(*command, "--dry-run", "--results", place / "listed")
    finished = _finished(place)
    status, counted = called("-m", "benchmarks.sweep", *GRID, "--status", "--results", finished)
    assert counted.strip() == "10000 runs: 10000 finished", counted
    cpus = os.cpu_count() or 1
    one = ("--cpus-per-run", cpus)  # one worker, of as many threads
    warm = [sweep(number, place / f"one-{number}", *one) for number in (FEW, MORE)]
    plain = [called("-c", IN_ONE_PROCESS, place / f"plain-{each}", each, threads=cpus)[0] for each in (FEW, MORE)]
    extra = ((warm[1] - warm[0]) - (plain[1] - plain[0])) / (MORE - FEW)
    many, alone = sweep(MORE, place / "many"), singles(range(MORE), place / "alone")
    return {
        "resolved_10000_seconds": resolved, "resolved_10000_peak_bytes": int(out.split()[-1]),
        "status_10000_seconds": status, "warm_run_extra_seconds": extra,
        "single_commands_over_sweep": alone / many, "processors": cpus,
    }  # fmt: skip


def _finished(place: Path) -> Path:
    """Makes the folders of the grid's 10 000 runs, each with the files of one that is finished, and returns the results."""
    called(
        "-m", "benchmarks.run", "--order", "arrows,clocks", "--iterations", "1", "--no-plots", "--results", place / "a"
    )
    (run,) = (file.parent for file in (place / "a").rglob("run.json"))
    results = place / "finished"
    _, listed = called("-m", "benchmarks.sweep", *GRID, "--dry-run", "--results", results)
    for line in listed.splitlines()[:-1]:
        folder = results / line.split()[-1]
        folder.mkdir(parents=True)
        for name in ("run.json", "cost.json", "config.yaml"):
            shutil.copyfile(run / name, folder / name)
    return results
