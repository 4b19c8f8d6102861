"""A sweep of runs that only sleep, on Ray nodes of this machine that come and go: `python -m tests.benchmarks.sweep.many_nodes
[RUNS] [NODES]`.

It prints the driver's memory as it goes on, and at the end how many runs were lost, or done twice to their end.
"""

import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.cluster_utils import Cluster

from benchmarks.sweep.cells import Cell, Shared, cells
from benchmarks.sweep.crew import Crew, Turn
from benchmarks.sweep.door import shared_by_all
from benchmarks.sweep.engine import absolute
from benchmarks.sweep.grid import Block
from benchmarks.sweep.options import Options
from benchmarks.sweep.outcomes import Outcome
from benchmarks.sweep.states import Standing
from benchmarks.sweep.view import View
from benchmarks.sweep.worker import Post, Worker


SLEEP = 0.4  # seconds
LIVES = 5.0  # seconds between two losses of a node


class Sleeper(Worker):
    """A worker whose runs only sleep, and write down that they came to their end."""

    def run(self, name: str, attempt: int, given: Mapping[str, Any]) -> Outcome:
        """Sleeps."""
        time.sleep(SLEEP)
        with open(self.post.shared.places.results / "ends.txt", "a") as file:
            file.write(f"{name}\n")
        return Outcome("finished")


class Seen(View):
    """Prints the driver's memory every thousand runs."""

    def finished(self, cell: Cell, seconds: Any) -> None:
        """Notes that a run is finished."""
        super().finished(cell, seconds)
        if self.done % 1000 == 0:
            print(f"{self.done} runs, {time.monotonic() - BEGAN:.0f} s, {memory():.0f} MB", flush=True)


BEGAN = time.monotonic()


def memory() -> float:
    return psutil.Process().memory_info().rss / 1e6


def come_and_go(cluster: Cluster, nodes: list[Any], until: threading.Thread) -> int:
    """Kills a node as it is, and adds another one, again and again; returns how many were lost."""
    count = 0
    while until.is_alive():
        until.join(LIVES)
        cluster.remove_node(nodes.pop(random.randrange(len(nodes))), allow_graceful=False)
        nodes.append(cluster.add_node(num_cpus=1))
        count += 1
    return count


def swept(found: list[Cell], shared: Shared) -> dict[str, Outcome]:
    marker = shared.places.results / ".marker"
    marker.write_text("")
    post = Post(absolute(shared), Path.cwd(), 1, False, marker)
    with Seen(found, [Standing("to do")] * len(found), silent=True) as view:
        crew = Crew(Options(), post, map(Turn, found), view, 0, worker=Sleeper)
        crew.go()
    return crew.failed


def main(runs: int, count: int) -> None:
    os.environ["RAY_AUTH_MODE"] = "disabled"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    ray.init(cluster.address, log_to_driver=False)
    nodes = [cluster.add_node(num_cpus=1) for _ in range(count)]
    failed: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory() as place:
        shared = shared_by_all(place)
        found = cells([Block({"seed": range(runs)})], shared)
        sweep = threading.Thread(target=lambda: failed.update(swept(found, shared)))
        sweep.start()
        lost = come_and_go(cluster, nodes, sweep)  # here, since Ray starts nodes in the main thread only
        ends = Counter(Path(place, "ends.txt").read_text().split())
    twice = sum(each > 1 for each in ends.values())
    print(f"{runs} runs on {count} nodes, {lost} of them lost, in {time.monotonic() - BEGAN:.0f} s")
    print(f"{runs - len(ends)} runs lost, {twice} done twice, {len(failed)} failed, {memory():.0f} MB")
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(*(map(int, sys.argv[1:]) if len(sys.argv) > 2 else (10_000, 20)))
