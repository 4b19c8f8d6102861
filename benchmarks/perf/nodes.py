"""Measures a sweep of runs that only sleep, on Ray nodes of this machine that come and go."""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster

from benchmarks.runtime import files
from benchmarks.sweep.cells import Cell, cells
from benchmarks.sweep.door import shared_by_all
from benchmarks.sweep.engine import run_cells
from benchmarks.sweep.grid import Block
from benchmarks.sweep.options import Options
from benchmarks.sweep.outcomes import Outcome
from benchmarks.sweep.view import View
from benchmarks.sweep.worker import Worker


RUNS, NODES = 10_000, 20
SLEEP = 0.4  # seconds
LIVES = 5.0  # seconds between two losses of a node
EVERY = 1000  # runs between two looks at the driver's memory
ENDS = "ends.txt"


class Sleeper(Worker):
    """A worker whose runs only sleep, and say in their folders and in one file of all that they came to their end."""

    def run(self, name: str, attempt: int, given: Mapping[str, Any], sha256: str) -> Outcome:
        """Sleeps, and returns that the run is finished.

        Args:
            name: the run folder below that of all results.
            attempt: not used.
            given: not used.
            sha256: not used.
        """
        time.sleep(SLEEP)
        files.write_json(self.setup.shared.places.results / name / "run.json", {"status": "finished"})
        with (self.setup.shared.places.results / ENDS).open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")
        return Outcome("finished")


class Seen(View):
    """Notes the memory of this process every thousand runs.

    Args:
        found: the runs.
        memory: the list to which it is appended, in bytes.
    """

    def __init__(self, found: list[Cell], memory: list[int]) -> None:
        super().__init__(found, (), silent=True)
        self.memory = memory

    def finished(self, cell: Cell, seconds: Any) -> None:
        """Notes that a run is finished.

        Args:
            cell: the run.
            seconds: of its tasks.
        """
        super().finished(cell, seconds)
        if self.done % EVERY == 0:
            self.memory.append(psutil.Process().memory_info().rss)


def come_and_go(cluster: Cluster, nodes: list[Any], until: threading.Thread) -> int:
    """Kills a node as it is, and adds another one, again and again; returns how many were lost.

    Args:
        cluster: the cluster.
        nodes: those that may be lost; changed.
        until: goes on while this runs.
    """
    count = 0
    while until.is_alive():
        until.join(LIVES)
        cluster.remove_node(nodes.pop(random.randrange(len(nodes))), allow_graceful=False)
        nodes.append(cluster.add_node(num_cpus=1))
        count += 1
    return count


def measure(place: Path) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part nodes` measures: 10 000 runs that sleep 0.4 seconds, on 20 Ray nodes of
    this machine, of which one is killed and another one added every five seconds.

    Args:
        place: a folder for what the runs write.

    Returns:
        `runs`, `nodes`, `nodes_lost`: their numbers. `seconds`: of the sweep. `runs_lost`: that never came to their end.
        `runs_twice`: that came to it twice. `runs_failed`. `driver_bytes`: the memory of the driver after each thousand
        runs.
    """
    os.environ["RAY_AUTH_MODE"] = "disabled"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(NODES)]
    failed: dict[str, Outcome] = {}
    memory: list[int] = []
    shared = shared_by_all(place)
    found = cells([Block({"seed": range(RUNS)})], shared)
    began = time.monotonic()
    options, view = Options(cluster.address, gpus=0), Seen(found, memory)
    sweep = threading.Thread(target=lambda: failed.update(run_cells(found, shared, options, view, 0, Sleeper)))
    sweep.start()
    lost = come_and_go(cluster, nodes, sweep)  # here, since Ray starts nodes in the main thread only
    seconds = time.monotonic() - began
    ends = Counter((place / ENDS).read_text(encoding="utf-8").split("\n")[:-1])
    cluster.shutdown()
    return {
        "runs": RUNS, "nodes": NODES, "nodes_lost": lost, "seconds": seconds, "runs_lost": RUNS - len(ends),
        "runs_twice": sum(each > 1 for each in ends.values()), "runs_failed": len(failed), "driver_bytes": memory,
    }  # fmt: skip
