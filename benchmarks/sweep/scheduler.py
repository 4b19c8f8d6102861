"""Gives the runs of a sweep to workers: started as the cluster grows, given one run after another, replaced where lost."""

import contextlib
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError as RayOutOfMemory
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from benchmarks.config.errors import UserError
from benchmarks.sweep.board import Board
from benchmarks.sweep.cluster import first_line
from benchmarks.sweep.machines import BAD, SPARE, Machines, living, machine
from benchmarks.sweep.outcomes import Outcome, Progress, Ready
from benchmarks.sweep.queued import LEFT, LOST, QueuedRun, WorkerHandle
from benchmarks.sweep.states import cost_of, forget_failure, note_failure, standing
from benchmarks.sweep.view import View
from benchmarks.sweep.worker import Setup, Worker


POLL = 0.5  # seconds
LOOK = 2.0  # seconds between two looks at the cluster and at the board
FULL = 60.0  # seconds without a run until a line says that the cluster has no room
UNSTARTED = 3  # workers in a row that may be lost before they are ready
WAIT = 10.0  # seconds until a folder in which somebody else writes is tried again
START = 120.0  # seconds that the first workers have to be ready, before runs begin without those that are not
GRACE = 30.0  # seconds that runs have to end after a signal
AT_ONCE = 16  # workers that are started at once
PAUSE = 60.0  # seconds without new workers after one that could not be started
OTHER_CODE = (
    "it has other code or versions of this project, of Python, torch, Avalanche or open_clip; install the same there"
)
GONE = "its worker was lost"
NEARLY_FULL = "Ray ended its worker, since the machine ran low on memory; a smaller --batch-size needs less"


class Scheduler:
    """Does runs, either many beside each other or one at a time with a device to itself.

    Args:
        machines: the machines, and how they are used.
        setup: how a worker is set up.
        runs: the runs to do.
        view: is told what happens.
        memory: the most memory that a run of the sweep is known to have needed, in bytes; 0 if none is.
        alone: whether one run at a time has a GPU, or all processors of a machine, to itself.
        worker: the class of the workers.

    Attributes:
        too_large: the runs for which memory did not suffice beside others.
        failed: how those runs ended that failed, by the run folder below that of all results.
    """

    def __init__(
        self, machines: Machines, setup: Setup, runs: Iterable[QueuedRun], view: View, memory: int, *, alone: bool = False,
        worker: type[Worker] = Worker,
    ) -> None:  # fmt: skip
        self.setup, self.view, self.alone = setup, view, alone
        self._machines, self._timeout = machines, machines.options.timeout
        self.waiting = deque(runs)
        self.memory = memory
        self._least = 0  # by runs for which memory did not suffice, until one has finished
        self.too_large: list[QueuedRun] = []
        self.failed: dict[str, Outcome] = {}
        self._starting: dict[Any, WorkerHandle] = {}  # by the reference to what they return: Ready
        self._working: dict[Any, WorkerHandle] = {}  # likewise: Outcome
        self._idle: list[WorkerHandle] = []
        self._looked, self._unstarted, self._refusal = 0.0, 0, ""
        self._start_again, self._said = 0.0, ""  # before when no worker is started, and the last line on why
        self._began = None if alone else time.monotonic()  # until the first run has begun
        self._first = 0  # how many workers have room before that
        self._worked = time.monotonic()  # when a run last went on; 0 after a line that none does
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        board: Any = ray.remote(Board)
        self._board = board.options(num_cpus=0, scheduling_strategy=here).remote(
            setup.shared.places.results, holds=setup.scratch is not None
        )
        self._remote: Any = ray.remote(worker)

    def run(self) -> None:
        """Does the runs, and returns when none is left.

        Raises:
            UserError: the first workers cannot do runs, for instance since one is of another version of the project; or
                later no machine can.
            KeyboardInterrupt: a signal ended the sweep; runs that went on have ended after their present step.
        """
        try:
            while self.waiting or self._working:
                self._look()
                self._hand_out()
                self._settle()
        except BaseException:
            self._end_runs()
            raise
        finally:
            for worker in self._workers:
                ray.kill(worker.actor)
            with contextlib.suppress(RayError):  # the cluster is gone
                ray.get(self._board.release.remote(), timeout=GRACE)
            ray.kill(self._board)

    @property
    def _workers(self) -> list[WorkerHandle]:
        """All workers that there are."""
        return [*self._starting.values(), *self._working.values(), *self._idle]

    def _look(self) -> None:
        """Looks at the cluster and at the board, now and then: starts workers, and gives up those that say nothing."""
        if time.monotonic() - self._looked < LOOK and self._looked:
            return
        self._looked = time.monotonic()
        self._start_workers()
        progress: dict[str, Progress] = ray.get(self._board.read.remote())
        for worker in self._working.values():
            assert worker.queued
            seen = progress.get(worker.queued.cell.name)
            quiet = seen.quiet if seen else time.monotonic() - worker.since
            if quiet > self._timeout and not worker.killed:
                worker.killed = f"it said nothing for {quiet:.0f} s"
                ray.kill(worker.actor)
        self.view.show(progress)

    def _start_workers(self) -> None:
        """Starts workers for the runs that have none, as many as the cluster has room for; a line says if it is full."""
        refused = self._machines.refused
        if refused and not self._workers and {each.node_id for each in living()} <= refused:
            raise UserError(f"no machine does runs any more: {self._refusal}; the same command goes on afterwards")
        needs = self._needs()
        self._first = min(self._room(needs), len(self.waiting) + len(self._working))
        wanted = self._first - len(self._workers)
        for _ in range(min(wanted, AT_ONCE) if time.monotonic() >= self._start_again else 0):
            actor = self._remote.options(**needs).remote(self.setup, self._board)
            self._starting[actor.ready.remote()] = WorkerHandle(actor)
        if self._working or self._idle:
            self._worked = time.monotonic()
        elif self._worked and time.monotonic() - self._worked > FULL:
            said = {"processors": needs["num_cpus"], "GPUs": needs["num_gpus"], "GB": needs.get("memory", 0) / 1e9}
            words = ", ".join(f"{what}: {amount:.3g}" for what, amount in said.items() if amount)
            self.view.say(f"waiting for a worker, which wants on one machine, free, {words}")
            self._worked = 0.0

    def _needs(self) -> dict[str, Any]:
        """What a worker asks Ray for."""
        return self._machines.worker(self.memory or self._least, alone=self.alone)

    def _room(self, needs: dict[str, Any]) -> int:
        """How many workers that ask for so much have room at once."""
        return 1 if self.alone else self._machines.room(needs)

    def _end_spare(self) -> None:
        """Ends idle workers beyond those that have room, now that more is known of what runs need."""
        spare = len(self._workers) - self._room(self._needs())
        self._end(self._idle[: max(spare, 0)])

    def _hand_out(self) -> None:
        """Gives each idle worker a run whose time has come; the first one when all the first workers are ready."""
        if self._began is not None:
            if not self._idle or (len(self._idle) < self._first and time.monotonic() - self._began < START):
                return
            self._began = None
        later = []
        while self.waiting and self._idle:
            queued = self.waiting.popleft()
            fit = [worker for worker in self._idle if worker.node_id != queued.avoids]
            if not self._others(queued.avoids):
                fit = self._idle  # the other machines have left
            if queued.after > time.monotonic() or not fit:
                later.append(queued)
            elif not self._give(queued, fit[-1]):
                break  # the next one a moment later, since the board has others to hear
        self.waiting.extendleft(reversed(later))

    def _give(self, queued: QueuedRun, worker: WorkerHandle) -> bool:
        """Gives a worker a run, and returns whether it could be given."""
        queued.attempts += 1
        name = queued.cell.name
        # Before the worker's first word.
        refused: Outcome | None = ray.get(self._board.begin.remote(name, queued.attempts))
        if refused:
            self._ended(queued, refused, "")
            return False
        forget_failure(queued.cell.folder)
        self._idle.remove(worker)
        worker.queued, worker.since = queued, time.monotonic()
        sha256 = queued.cell.request.config.strategy.sha256
        self._working[worker.actor.run.remote(name, queued.attempts, dict(queued.cell.given), sha256)] = worker
        self.view.began(queued.cell, worker.node)
        return True

    def _settle(self) -> None:
        """Waits a moment for workers that are ready, done or lost."""
        references = [*self._starting, *self._working]
        if not references:
            time.sleep(POLL)
            return
        if ray.wait(references, timeout=POLL)[0]:
            for reference in ray.wait(references, num_returns=len(references), timeout=0)[0]:
                if reference in self._starting:
                    self._on_ready(reference, self._starting.pop(reference))
                else:
                    self._on_done(reference, self._working.pop(reference))

    def _on_ready(self, reference: Any, worker: WorkerHandle) -> None:
        """Keeps a worker that has started, or leaves its machine out if it cannot do runs.

        Raises:
            UserError: it is one of the first, and cannot do runs; or those cannot be started.
        """
        try:
            ready: Ready = ray.get(reference)
        except RayError as error:
            self._on_unstarted(error)
            return
        self._unstarted = 0
        if wrong := ready.wrong or ("" if ready.code == self.setup.code else OTHER_CODE):
            if self._began is not None:
                raise UserError(f"{ready.node}: {wrong}")
            if ready.node_id not in self._machines.refused:
                self._refusal = f"{ready.node} does no runs: {wrong}"
                self.view.say(self._refusal)
            self._machines.refused.add(ready.node_id)
            self._end_idle(ready.node_id)
        if self._machines.out(ready.node_id):
            ray.kill(worker.actor)
            return
        worker.node, worker.node_id = ready.node, ready.node_id
        self._idle.append(worker)

    def _on_unstarted(self, error: RayError) -> None:
        """Notes that a worker was lost before it was ready: with its machine, or since the project is not installed there.

        Raises:
            UserError: it is one of the first, and more of them would be lost.
        """
        self._unstarted += 1
        broken = isinstance(error, RayTaskError) or getattr(error, "actor_init_failed", False)
        many = self._unstarted >= UNSTARTED and (broken or not self._idle)
        line = f"workers cannot be started: {_last_line(error)}"
        if self._began is not None and (many or "ModuleNotFoundError" in str(error)):
            raise UserError(line) from error
        if self._began is None and (broken or many):
            self._start_again = time.monotonic() + PAUSE
            if line != self._said:
                self.view.say(line)
            self._said = line

    def _on_done(self, reference: Any, worker: WorkerHandle) -> None:
        """Takes note of how a run ended."""
        queued = worker.queued
        assert queued
        progress = ray.get(self._board.read.remote()).get(queued.cell.name)
        self._board.forget.remote(queued.cell.name)
        try:
            outcome: Outcome = ray.get(reference)
        except RayTaskError as error:  # a mistake of ours outside the run itself
            outcome = Outcome("failed", _last_line(error))
        except RayOutOfMemory:
            self._ended(queued, Outcome("memory", NEARLY_FULL), worker.node_id)
            return
        except RayError as error:
            self._end_idle(worker.node_id)
            self._lost(queued, worker, first_line(error), progress)
            return
        self._idle.append(worker)
        if self._machines.out(worker.node_id):
            self._end_idle(worker.node_id)
        if outcome.status == "interrupted":
            self._lost(queued, worker, outcome.error or "it was interrupted", progress)
        else:
            self._ended(queued, outcome, worker.node_id)

    def _ended(self, queued: QueuedRun, outcome: Outcome, node_id: str) -> None:
        """Takes note of how a run ended on a machine, or before it had one."""
        failures = self._machines.failures
        queued.busy = queued.busy if outcome.status == "busy" else 0.0
        if outcome.status == "failed" and queued.avoids:
            failures.pop(queued.avoids, None)  # it fails on others too
        if outcome.status == "failed" and self._try_elsewhere(queued, outcome, node_id):
            return
        if outcome.status in ("finished", "memory"):
            failures.pop(node_id, None)
        if outcome.status == "memory" and not self.alone:
            self.too_large.append(queued)
            self.view.waits(queued.cell, "out of memory; tried again alone at the end")
            self._note_full(node_id)
        elif outcome.status == "busy" and standing(queued.cell.folder).state != "finished":
            self._wait_for_other(queued, outcome)
        elif outcome.status in ("finished", "busy"):
            self._finished(queued)
        elif standing(queued.cell.folder).state == "finished":  # and its plots could not be drawn
            self.view.say(f"{queued.cell.name}: {outcome.error}")
            self._finished(queued)
        else:
            self._give_up(queued, outcome)

    def _note_full(self, node_id: str) -> None:
        """Takes note that runs at once were too many for a machine's memory: each needs more than its share of that."""
        there = machine(node_id)
        has = there.has.get("memory", 0) if there else 0
        at_once = 1 + sum(worker.node_id == node_id for worker in self._working.values())
        self._least = max(self._least, int(has / at_once * SPARE))
        self._end_spare()

    def _wait_for_other(self, queued: QueuedRun, outcome: Outcome) -> None:
        """Lets a run wait while another process writes into its folder, where nothing is noted of it."""
        if queued.busy and time.monotonic() - queued.busy > self._timeout:
            self.failed[queued.cell.name] = outcome
            self.view.failed(queued.cell, outcome)
            return
        self.view.waits(queued.cell, "" if queued.busy else outcome.error)
        queued.after, queued.busy = time.monotonic() + WAIT, queued.busy or time.monotonic()
        self.waiting.append(queued)

    def _try_elsewhere(self, queued: QueuedRun, outcome: Outcome, node_id: str) -> bool:
        """Whether a run that failed before it learned a task is tried on another machine, once, as the next one.

        A machine on which one run after another fails so (data that are missing, a disk that is full) gets no more.
        """
        if not outcome.elsewhere or queued.avoids or not node_id or not self._others(node_id):
            return False
        if cost_of(queued.cell.folder).seconds:
            return False
        queued.avoids = node_id
        failures = self._machines.failures
        failures[node_id] += 1
        if out := failures[node_id] >= BAD and self._machines.out(node_id):
            self._end_idle(node_id)
        if out and failures[node_id] == BAD:
            there = machine(node_id)
            self.view.say(
                f"a machine gets no more runs, since {BAD} in a row failed there: {there.name if there else node_id}"
            )
        self.view.waits(queued.cell, f"{outcome.error}; tried once on another machine")
        self.waiting.appendleft(queued)
        return True

    def _others(self, node_id: str) -> set[str]:
        """The machines besides one that have a worker, by Ray's names."""
        return {worker.node_id for worker in [*self._idle, *self._working.values()]} - {node_id}

    def _end_idle(self, node_id: str) -> None:
        """Ends the idle workers of a machine: it may be lost, as one of its workers is, or cannot do runs."""
        self._end([each for each in self._idle if each.node_id == node_id])

    def _end(self, idle: list[WorkerHandle]) -> None:
        for worker in idle:
            self._idle.remove(worker)
            ray.kill(worker.actor)

    def _lost(self, queued: QueuedRun, worker: WorkerHandle, why: str, progress: Progress | None) -> None:
        """Puts a run whose worker was lost at the front again, unless it was at its end or loses every one."""
        if standing(queued.cell.folder).state == "finished":
            self._finished(queued)
            return
        why = worker.killed or why
        queued.lose(worker.node_id, progress.learned if progress else 0)
        losses = queued.losses({each.node_id for each in living()})
        if losses == LOST - 1 and not self.alone:  # one that the system kills for memory is lost like any other
            self.too_large.append(queued)
            self.view.waits(queued.cell, f"{GONE} ({why}); tried again alone at the end")
        elif losses >= LOST or len(queued.lost_on) >= LEFT:
            times = len(queued.lost_on)
            self._give_up(queued, Outcome("failed", f"{GONE} {times} times at the same task; the last time: {why}"))
        else:
            self.view.waits(queued.cell, f"{GONE} ({why}); it goes on after {queued.learned} tasks")
            self.waiting.appendleft(queued)

    def _finished(self, queued: QueuedRun) -> None:
        seconds, memory = cost_of(queued.cell.folder)
        self.memory = max(self.memory, memory)
        self._end_spare()
        forget_failure(queued.cell.folder)
        self.view.finished(queued.cell, seconds)

    def _give_up(self, queued: QueuedRun, outcome: Outcome) -> None:
        with contextlib.suppress(UserError):  # a full disk, which the worker met too
            note_failure(queued.cell.folder, outcome.error, outcome.log)
        self.failed[queued.cell.name] = outcome
        self.view.failed(queued.cell, outcome)

    def _end_runs(self) -> None:
        """Lets the runs end after their present step, so that their folders say `interrupted`."""
        if self._working:
            with contextlib.suppress(RayError):  # the cluster is gone
                self._board.stop.remote()
                ray.wait([*self._working], num_returns=len(self._working), timeout=GRACE)


def _last_line(error: BaseException) -> str:
    return str(error).strip().rpartition("\n")[2][:300] or type(error).__name__
