"""Measures several runs at once on one device: their throughput beside that of one alone, and the memory of each method."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.config import registry
from benchmarks.config.registry import ROOT
from benchmarks.perf.timing import failure, ratio


TOGETHER = (2, 4)  # runs at once
ROUNDS = 3
TASKS = "arrows,clocks"  # of `micro`
STEPS = 150  # a task
FEW = 10  # steps a task where only memory counts


def runs(strategy: str, number: int, steps: int, device: str, place: Path) -> list[dict[str, Any]]:
    """Runs a method on two tasks of `micro` in several processes at once, of one thread each.

    Args:
        strategy: the method.
        number: of processes.
        steps: training steps of a task.
        device: `cpu` or `cuda`.
        place: a folder, which is made; each run gets a folder in it.

    Returns:
        What `cost.json` of each run holds.

    Raises:
        UserError: a process failed; the message has the last line of its stderr.
    """
    words = ["--strategy", strategy, "--order", TASKS, "--iterations", str(steps), "--device", device, "--no-plots"]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.run", *words, "--results", str(place / str(index))],
            cwd=ROOT, env=alone, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
        )
        for index in range(number)
    ]  # fmt: skip
    errors = [process.communicate()[1] for process in started]
    for process, said in zip(started, errors, strict=True):
        if process.returncode:
            raise failure(process.returncode, said)
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(place.rglob("cost.json"))]


def measure(device: str, place: Path) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part many` measures: runs of `micro` at once on one device.

    Args:
        device: `cpu` or `cuda`.
        place: a folder for the runs.

    Returns:
        `throughput_of_N_over_1`: how much more is trained in the same time by N = 2 and 4 runs of NuSA-CL at once than
        by one, start-up not counted, as a dict with `median`, `low` and `high` over three rounds; N would be ideal. Each
        process has one thread.
        `NAME_peak_memory_bytes`: the most memory of a run of strategy NAME: on a GPU that of its tensors, else that of
        the process.
    """
    seconds: dict[int, list[float]] = {number: [] for number in (1, *TOGETHER)}
    for turn in range(ROUNDS):
        for number, found in seconds.items():
            costs = runs("nusa", number, STEPS, device, place / f"{turn}-{number}")
            found.append(sum(sum(cost["seconds"]["training"]) for cost in costs) / number**2)  # for each run's work
    figures: dict[str, Any] = {
        f"throughput_of_{number}_over_1": ratio(seconds[1], seconds[number]) for number in TOGETHER
    }
    memory = "peak_gpu_memory_bytes" if device == "cuda" else "peak_memory_bytes"
    for name in registry.names("strategy"):
        (cost,) = runs(name, 1, FEW, device, place / name.replace(":", "-"))
        figures[f"{name}_peak_memory_bytes"] = cost[memory]
    return figures
