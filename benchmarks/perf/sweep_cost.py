"""Measures a sweep: resolving thousands of runs, reading where they stand, and what it adds to its runs or saves of them."""

import os
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.perf.timing import python


GRID = ("--strategy", "nusa,lora", "--seed", "0..2499", "--set", "lr=1e-3,1e-2")  # 10 000 runs
ORDER, STEPS = "arrows,clocks,colours", 20  # of the runs that are timed, three domains of `micro`
MORE = 12  # runs
EACH = (1, 11)  # runs of each process; their difference is not start-up
# The command that follows, and then the most memory that it had in bytes, as the last line; on Linux.
WITH_MEMORY = """
import re, runpy, sys
try:
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
except SystemExit as ended:
    assert not ended.code, ended
print(int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) * 1024)
"""
# Runs one after the other in one process, which like a worker keeps the model that it has loaded.
IN_ONE_PROCESS = """
import sys
from benchmarks import api as nb
from benchmarks.experiment.backbones.kept import KEPT
KEPT.wanted = True
results, order, steps, number = sys.argv[1:]
for seed in range(int(number)):
    nb.run("nusa", order=order, iterations=int(steps), seed=seed, results=results, plots=False, silent=True)
"""


def called(*words: object) -> tuple[float, str]:
    """Runs Python in a new process of one thread; returns its seconds and what it printed.

    Args:
        words: the command-line arguments of Python.

    Raises:
        UserError: the process failed; the message has the last line of its errors.
    """
    began = time.perf_counter()
    done = python(*map(str, words), threads=1)
    return time.perf_counter() - began, done.stdout


def sweep(seeds: int, results: Path) -> float:
    """Returns the seconds of a sweep of NuSA-CL over some seeds, three domains and 20 steps each.

    Args:
        seeds: their number.
        results: the folder of the runs.
    """
    grid = ("--strategy", "nusa", "--seed", f"0..{seeds - 1}", "--order", f"[{ORDER}]", "--set", f"iterations={STEPS}")
    return called("-m", "benchmarks.sweep", *grid, "--results", results)[0]


def singles(seeds: Sequence[int], results: Path) -> float:
    """Returns the seconds of the same runs by single commands, one after the other.

    Args:
        seeds: of the runs.
        results: the folder of the runs.
    """
    words = ("--strategy", "nusa", "--order", ORDER, "--iterations", STEPS, "--no-plots")
    return sum(called("-m", "benchmarks.run", *words, "--seed", seed, "--results", results)[0] for seed in seeds)


def warm_run_extra(place: Path, cpus: int) -> float:
    """Returns the seconds that a run in a warm worker takes beyond one in a plain process that does one after another.

    As many workers as processors, of one thread each, stand beside as many such processes at once; of both, what a few
    runs take is taken off what more of them take, which leaves out the start.

    Args:
        place: a folder for the runs.
        cpus: the number of processors.
    """

    def plain(process: int, number: int) -> None:
        called("-c", IN_ONE_PROCESS, place / f"plain-{number}-{process}", ORDER, STEPS, number)

    def at_once(number: int) -> float:
        began = time.perf_counter()
        with ThreadPoolExecutor(cpus) as processes:
            list(processes.map(plain, range(cpus), [number] * cpus))
        return time.perf_counter() - began

    warm = [sweep(number * cpus, place / f"warm-{number}") for number in EACH]
    bare = [at_once(number) for number in EACH]
    return ((warm[1] - warm[0]) - (bare[1] - bare[0])) / (EACH[1] - EACH[0])


def measure(place: Path) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part sweep` measures.

    Args:
        place: a folder for the runs.

    Returns:
        `resolved_10000_seconds`, `resolved_10000_peak_bytes`: the whole command that lists 10 000 runs, checked, and its
        most memory. `status_10000_seconds`: the whole command that counts 10 000 finished runs by their folders.
        `warm_run_extra_seconds`: what a run in a warm worker takes beyond one in a plain process (`warm_run_extra`), of
        three domains of `micro` and 20 steps. `single_commands_over_sweep`: seconds of 12 such runs by single commands
        one after the other / by a sweep, with its start-up, which has a worker of one thread for each processor.
        `processors`: their number.
    """
    command = ("-c", WITH_MEMORY, "benchmarks.sweep", *GRID)
    resolved, out = called(*command, "--dry-run", "--results", place / "listed")
    finished = _finished(place)
    status, counted = called("-m", "benchmarks.sweep", *GRID, "--status", "--results", finished)
    assert counted.strip() == "10000 runs: 10000 finished", counted
    cpus = os.cpu_count() or 1
    extra = warm_run_extra(place, cpus)
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
