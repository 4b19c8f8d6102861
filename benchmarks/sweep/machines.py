"""The machines of a Ray cluster: how many runs have room on each, and which of them get none."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray

from benchmarks.sweep.options import Options


SPARE = 1.1  # of the measured memory of a run
BAD = 3  # runs in a row that fail on a machine, each before it learned a task, until it gets no more
RESOURCES = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}  # of a machine, and as an actor asks for it


@dataclass(frozen=True)
class Machine:
    """A machine of the cluster.

    Attributes:
        node_id: Ray's name of it.
        name: its own name.
        has: its resources by Ray's names: `CPU`, `GPU`, `memory` in bytes.
    """

    node_id: str
    name: str
    has: Mapping[str, float]


def living() -> list[Machine]:
    """Returns the machines of the cluster that are there now."""
    return [
        Machine(node["NodeID"], node["NodeManagerHostname"], node["Resources"]) for node in ray.nodes() if node["Alive"]
    ]


def machine(node_id: str) -> Machine | None:
    """Returns the machine of a name; None if it is not there now.

    Args:
        node_id: Ray's name of it.
    """
    return next((each for each in living() if each.node_id == node_id), None)


@dataclass
class Machines:
    """What a sweep knows of its machines.

    Attributes:
        options: how they are used.
        refused: Ray's names of those that cannot do runs, since they have other code or cannot write.
        failures: by Ray's name of a machine: how many runs in a row have failed there, each before it learned a task.
    """

    options: Options
    refused: set[str] = field(default_factory=set)
    failures: Counter[str] = field(default_factory=Counter)

    def out(self, node_id: str) -> bool:
        """Returns whether a machine gets no runs: it was refused, or runs fail there while there is one where they do not.

        Args:
            node_id: Ray's name of it.
        """
        return node_id in self._out(living())

    def _out(self, there: list[Machine]) -> set[str]:
        bad = {each.node_id for each in there if self.failures[each.node_id] >= BAD}
        others = {each.node_id for each in there} - self.refused - bad
        return self.refused | bad if others else self.refused

    def room(self, needs: Mapping[str, Any]) -> int:
        """Returns how many workers have room at once, what else runs on the machines not counted.

        Args:
            needs: what `worker` returned.
        """
        there = living()
        out = self._out(there)
        wanted = {name: needs[word] for name, word in RESOURCES.items() if needs.get(word)}
        return sum(
            min(_times(each.has.get(name, 0), amount) for name, amount in wanted.items())
            for each in there
            if each.node_id not in out
        )

    def worker(self, memory: int, *, alone: bool) -> dict[str, Any]:
        """Returns what a worker asks Ray for; never what no machine that gets runs has, since Ray would wait for it.

        Args:
            memory: the most memory that a run is known to have needed, in bytes; 0 if none is.
            alone: whether it is to have a GPU, or all processors of a machine, to itself.
        """
        there, cpus = living(), self.options.cpus
        out = self._out(there)
        there = [each for each in there if each.node_id not in out] or there
        gpus = self.options.gpus or 0
        gpus = max(1, gpus) if alone and gpus else gpus
        fit = [each for each in there if each.has.get("CPU", 0) >= cpus and each.has.get("GPU", 0) >= gpus] or there
        most = {name: max((each.has.get(name, 0) for each in fit), default=0) for name in ("CPU", "memory")}
        found: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus}
        if not alone:
            found["memory"] = int(min(memory * SPARE, most["memory"]))
        elif not self.options.gpus:
            found["num_cpus"] = most["CPU"]
        if out:
            found["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(out))})"}
        return found


def _times(there: float, amount: float) -> int:
    """How often an amount fits; a share of a GPU lies within one."""
    return int(there) * int(1 / amount + 1e-9) if amount < 1 else int(there / amount + 1e-9)
