"""The runs of a sweep that are still to be done, and the workers that do them, as the driver knows both."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from benchmarks.sweep.cells import Cell


LOST = 3  # workers that a run may lose without learning a task, the last one alone on its device, before it has failed
LEFT = 10  # the same, with those whose whole machine has left, which is seldom the run's doing


@dataclass
class QueuedRun:
    """A run that is still to be done.

    Attributes:
        cell: the run.
        lost_on: Ray's names of the machines of the workers that it has lost since it last learned a task.
        learned: tasks that it had learned when it lost the last one.
        after: the time (of `time.monotonic`) before which it is not tried again.
        attempts: workers that have got it so far.
        busy: since when (likewise) another process has been writing into its folder; 0 if none does.
        avoids: Ray's name of a machine on which it failed, to try another; empty if there is none.
    """

    cell: Cell
    lost_on: list[str] = field(default_factory=list)
    learned: int = 0
    after: float = 0.0
    attempts: int = 0
    busy: float = 0.0
    avoids: str = ""

    def lose(self, node_id: str, learned: int) -> None:
        """Notes that its worker was lost.

        Args:
            node_id: Ray's name of the worker's machine.
            learned: number of tasks that it had learned by then.
        """
        if learned > self.learned:
            self.lost_on.clear()
        self.learned, self.busy = max(learned, self.learned), 0.0
        self.lost_on.append(node_id)

    def losses(self, there: Collection[str]) -> int:
        """Returns how many workers it has lost within one task, those not counted whose machine left with them.

        Args:
            there: Ray's names of the machines that are there; the last one lost may still be among them.
        """
        return sum(node_id in there for node_id in self.lost_on)


@dataclass(eq=False)
class WorkerHandle:
    """A worker.

    Attributes:
        actor: Ray's handle of it.
        queued: the run that it does or did last; None before its first.
        node, node_id: the names of its machine, its own and Ray's; empty before it is ready.
        since: when (by `time.monotonic`) it got its run.
        killed: why the driver ended it; empty if it did not.
    """

    actor: Any
    queued: QueuedRun | None = None
    node: str = ""
    node_id: str = ""
    since: float = 0.0
    killed: str = ""
