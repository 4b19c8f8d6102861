"""The workers of a sweep: hired as the cluster grows, given one run after another, and replaced where they are lost."""

import contextlib
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError as RayOutOfMemory
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from benchmarks.config.errors import UserError
from benchmarks.sweep.board import Board
from benchmarks.sweep.cells import Cell
from benchmarks.sweep.cluster import first_line
from benchmarks.sweep.options import Options
from benchmarks.sweep.outcomes import Outcome, Progress, Ready, code_digest
from benchmarks.sweep.states import cost_of, forget_failure, note_failure, standing
from benchmarks.sweep.view import View
from benchmarks.sweep.worker import Post, Worker


POLL = 0.5  # seconds
LOOK = 2.0  # seconds between two looks at the cluster and at the board
LOST = 3  # workers that a run may lose without learning a task, the last one alone on its device, before it has failed
BAD = 3  # runs in a row that fail on a machine, each before it learned a task, until it gets no more
FULL = 60.0  # seconds without a run until a line says that the cluster has no room
UNBORN = 3  # workers in a row that may be lost before they are ready
WAIT = 10.0  # seconds until a folder in which somebody else writes is tried again
START = 120.0  # seconds that the workers hired first have to be ready, before those that are begin without the others
GRACE = 30.0  # seconds that runs have to end after a signal
AT_ONCE = 16  # workers that are hired at once
SPARE = 1.1  # of the measured memory of a run
RESOURCES = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}  # of a machine, and as an actor asks for it
PAUSE = 60.0  # seconds without hiring after a machine that cannot do runs
OTHER_CODE = (
    "it has other code or versions of this project, of Python, torch, Avalanche or open_clip; install the same there"
)
GONE = "its worker was lost"


@dataclass
class Turn:
    """A run that is still to be done.

    Attributes:
        cell: the run.
        losses: workers that it has lost since it last learned a task.
        learned: tasks that it had learned when it lost the last one.
        after: the time (of `time.monotonic`) before which it is not tried again.
        attempts: workers that have got it so far.
        busy: since when (likewise) another process has been writing into its folder; 0 if none does.
        avoids: Ray's name of a machine on which it failed, to try another; empty if there is none.
    """

    cell: Cell
    losses: int = 0
    learned: int = 0
    after: float = 0.0
    attempts: int = 0
    busy: float = 0.0
    avoids: str = ""


@dataclass(eq=False)
class Hand:
    """A worker.

    Attributes:
        actor: its handle.
        turn: the run that it does or did last; None before its first.
        node, node_id: the names of its machine, its own and Ray's; empty before it is ready.
        since: when (by `time.monotonic`) it got its run.
        killed: why the driver ended it; empty if it did not.
    """

    actor: Any
    turn: Turn | None = None
    node: str = ""
    node_id: str = ""
    since: float = 0.0
    killed: str = ""


class Crew:
    """Does runs, either many beside each other or one at a time with a device to itself.

    Args:
        options: how the machines are used.
        post: how a worker is set up.
        turns: the runs to do.
        view: is told what happens.
        memory: the most memory that a run of the sweep is known to have needed, in bytes; 0 if none is.
        alone: whether one run at a time has a GPU, or all processors of a machine, to itself.
        worker: the class of the workers.

    Attributes:
        too_large: the runs for which memory did not suffice beside others.
        failed: how those runs ended that failed, by the run folder below that of all results.
    """

    def __init__(
        self, options: Options, post: Post, turns: Iterable[Turn], view: View, memory: int, *, alone: bool = False,
        worker: type[Worker] = Worker,
    ) -> None:  # fmt: skip
        self.options, self.post, self.view, self.alone = options, post, view, alone
        self.waiting = deque(turns)
        self.memory = memory
        self.too_large: list[Turn] = []
        self.failed: dict[str, Outcome] = {}
        self._hired: dict[Any, Hand] = {}  # by the reference to what they return: Ready
        self._working: dict[Any, Hand] = {}  # likewise: Outcome
        self._idle: list[Hand] = []
        self._code, self._looked, self._unborn = code_digest(), 0.0, 0
        self._met, self._hire_again = False, 0.0  # whether any worker was ever ready; before when none is hired
        self._first_hired = time.monotonic()  # until the first run has begun
        self._bad: dict[str, int] = {}  # by a machine, Ray's name: how many runs in a row have failed there
        self._worked = time.monotonic()  # when a run last went on; 0 after a line that none does
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        remote: Any = ray.remote(Board)
        self._board = remote.options(num_cpus=0, scheduling_strategy=here).remote(
            post.shared.places.results, holds=post.scratch is not None
        )
        self._remote: Any = ray.remote(worker)

    def go(self) -> None:
        """Does the runs, and returns when none is left.

        Raises:
            UserError: workers cannot do runs, for instance since they are of another version of the project.
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
            for hand in [*self._hired.values(), *self._working.values(), *self._idle]:
                ray.kill(hand.actor)
            with contextlib.suppress(RayError):  # the cluster is gone
                ray.get(self._board.release.remote(), timeout=GRACE)
            ray.kill(self._board)

    def _look(self) -> None:
        """Looks at the cluster and at the board, now and then: hires workers, and gives up those that say nothing."""
        if time.monotonic() - self._looked < LOOK and self._looked:
            return
        self._looked = time.monotonic()
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        there = len(self._hired) + len(self._working) + len(self._idle)
        needs = self._needs(nodes)
        wanted = min(self._room(nodes, needs), len(self.waiting) + len(self._working)) - there
        for _ in range(min(wanted, AT_ONCE) if time.monotonic() >= self._hire_again else 0):
            actor = self._remote.options(**needs).remote(self.post, self._board)
            self._hired[actor.ready.remote()] = Hand(actor)
        progress: dict[str, Progress] = ray.get(self._board.read.remote())
        for hand in self._working.values():
            assert hand.turn
            seen = progress.get(hand.turn.cell.name)
            quiet = seen.quiet if seen else time.monotonic() - hand.since
            if quiet > self.options.timeout and not hand.killed:
                hand.killed = f"it said nothing for {quiet:.0f} s"
                ray.kill(hand.actor)
        self.view.show(progress)
        if self._working or self._idle or not self._hired:
            self._worked = time.monotonic()
        elif self._worked and time.monotonic() - self._worked > FULL:
            said = {"processors": needs["num_cpus"], "GPUs": needs["num_gpus"], "GB": needs.get("memory", 0) / 1e9}
            words = ", ".join(f"{what}: {amount:.3g}" for what, amount in said.items() if amount)
            self.view.say(f"waiting for a worker, which wants on one machine, free, {words}")
            self._worked = 0.0

    def _room(self, nodes: list[dict[str, float]], needs: dict[str, Any]) -> int:
        """How many workers the cluster has room for, what else runs there not counted."""
        if self.alone:
            return 1
        wanted = {name: needs[word] for name, word in RESOURCES.items() if needs[word]}
        return sum(min(_times(each.get(name, 0), amount) for name, amount in wanted.items()) for each in nodes)

    def _needs(self, nodes: list[dict[str, float]]) -> dict[str, Any]:
        """The resources of a worker; what no machine has is not asked for, since it would be waited for."""
        gpus = 1 if self.alone and self.options.gpus else self.options.gpus or 0
        fit = [
            each for each in nodes if each.get("CPU", 0) >= self.options.cpus and each.get("GPU", 0) >= gpus
        ] or nodes
        most = {name: max((each.get(name, 0) for each in fit), default=0) for name in ("CPU", "memory")}
        if self.alone:
            return {
                "num_cpus": self.options.cpus if self.options.gpus else most["CPU"],
                "num_gpus": gpus,
            }
        memory = int(min(self.memory * SPARE, most["memory"]))
        return {"num_cpus": self.options.cpus, "num_gpus": gpus, "memory": memory}

    def _hand_out(self) -> None:
        """Gives each idle worker a run whose time has come; the first one when all that were hired first are ready."""
        if self._first_hired and (not self._idle or (self._hired and time.monotonic() - self._first_hired < START)):
            return
        self._first_hired = 0.0
        later = []
        while self.waiting and self._idle:
            turn = self.waiting.popleft()
            fit = [hand for hand in self._idle if hand.node_id != turn.avoids]
            if not self._others(turn.avoids):
                fit = self._idle  # the other machines have left
            if turn.after > time.monotonic() or not fit:
                later.append(turn)
            elif not self._give(turn, fit[-1]):
                break  # the next one a moment later, since the board has others to hear
        self.waiting.extend(later)

    def _give(self, turn: Turn, hand: Hand) -> bool:
        """Gives a worker a run, and returns whether it could be given."""
        turn.attempts += 1
        refused: Outcome | None = ray.get(
            self._board.begin.remote(turn.cell.name, turn.attempts)
        )  # before its first word
        if refused:
            self._ended(turn, refused, "")
            return False
        self._idle.remove(hand)
        hand.turn, hand.since = turn, time.monotonic()
        self._working[hand.actor.run.remote(turn.cell.name, turn.attempts, dict(turn.cell.given))] = hand
        self.view.began(turn.cell, hand.node)
        return True

    def _settle(self) -> None:
        """Waits a moment for workers that are ready, done or lost."""
        references = [*self._hired, *self._working]
        if not references:
            time.sleep(POLL)
            return
        if ray.wait(references, timeout=POLL)[0]:
            for reference in ray.wait(references, num_returns=len(references), timeout=0)[0]:
                if reference in self._hired:
                    self._greet(reference, self._hired.pop(reference))
                else:
                    self._take(reference, self._working.pop(reference))

    def _greet(self, reference: Any, hand: Hand) -> None:
        """Takes a worker that is ready into the crew.

        Raises:
            UserError: it cannot do runs, or workers are lost before they are ready.
        """
        try:
            ready: Ready = ray.get(reference)
        except RayError as error:
            self._unborn += 1
            if not self._met and (self._unborn >= UNBORN or "ModuleNotFoundError" in str(error)):
                raise UserError(f"workers cannot be started: {_last_line(error)}") from error
            return
        wrong = ready.wrong or ("" if ready.code == self._code else OTHER_CODE)
        if self._is_bad(ready.node_id):
            wrong = f"{BAD} runs in a row failed there"
        if wrong and not self._met:
            raise UserError(f"{ready.node}: {wrong}")
        if wrong:  # of a machine that came later
            self._hire_again = time.monotonic() + PAUSE
            self.view.say(f"{ready.node} does no runs: {wrong}")
            ray.kill(hand.actor)
            return
        self._met, hand.node, hand.node_id = True, ready.node, ready.node_id
        self._idle.append(hand)

    def _take(self, reference: Any, hand: Hand) -> None:
        """Takes note of how a run ended."""
        turn = hand.turn
        assert turn
        progress = ray.get(self._board.read.remote()).get(turn.cell.name)
        self._board.forget.remote(turn.cell.name)
        try:
            outcome: Outcome = ray.get(reference)
        except RayTaskError as error:  # a mistake of ours outside the run itself
            outcome = Outcome("failed", _last_line(error))
            self._idle.append(hand)
        except RayOutOfMemory as error:  # Ray has ended the worker
            outcome = Outcome("memory", first_line(error))
        except RayError as error:
            self._dismiss(hand.node_id)
            self._lost(turn, hand.killed or first_line(error), progress)
            return
        else:
            self._idle.append(hand)
        self._ended(turn, outcome, hand.node_id)

    def _ended(self, turn: Turn, outcome: Outcome, node_id: str) -> None:
        """Takes note of how a run ended on a machine, or before it had one."""
        if outcome.status == "failed" and turn.avoids:
            self._bad.pop(turn.avoids, None)  # it fails on others too
        if outcome.status == "failed" and self._elsewhere(turn, node_id):
            self.view.waits(turn.cell, f"{outcome.error}; tried once on another machine")
            self.waiting.append(turn)
            return
        if outcome.status in ("finished", "memory"):
            self._bad.pop(node_id, None)
        if outcome.status == "busy" and turn.busy and time.monotonic() - turn.busy > self.options.timeout:
            outcome = Outcome("failed", outcome.error)
        if outcome.status == "memory" and not self.alone:
            self.too_large.append(turn)
            self.view.waits(turn.cell, "out of memory; tried again alone at the end")
        elif outcome.status == "busy" and standing(turn.cell.folder).state != "finished":
            self.view.waits(turn.cell, "" if turn.busy else outcome.error)
            turn.after, turn.busy = time.monotonic() + WAIT, turn.busy or time.monotonic()
            self.waiting.append(turn)
        elif outcome.status in ("finished", "busy"):
            self._finished(turn)
        elif outcome.status == "interrupted":
            self.waiting.append(turn)
        else:
            self._give_up(turn, outcome)

    def _elsewhere(self, turn: Turn, node_id: str) -> bool:
        """Whether a run that failed before it learned a task has not been tried on another machine, and there is one.

        A machine on which one run after another fails so (data that are missing, a disk that is full) gets no more.
        """
        if turn.avoids or not node_id or not self._others(node_id) or cost_of(turn.cell.folder).seconds:
            return False
        turn.avoids = node_id
        self._bad[node_id] = self._bad.get(node_id, 0) + 1
        if self._bad[node_id] == BAD:
            self.view.say(f"a machine gets no more runs, since {BAD} in a row failed there: {self._node(node_id)}")
        if self._is_bad(node_id):
            self._dismiss(node_id)
        return True

    def _is_bad(self, node_id: str) -> bool:
        """Whether a machine gets no runs, since they failed there: while there is another one."""
        others = self._others(node_id)
        return self._bad.get(node_id, 0) >= BAD and any(self._bad.get(other, 0) < BAD for other in others)

    def _others(self, node_id: str) -> set[str]:
        """The machines besides one that have a worker, by Ray's names."""
        return {hand.node_id for hand in [*self._idle, *self._working.values()]} - {node_id}

    def _node(self, node_id: str) -> str:
        return next((each["NodeManagerHostname"] for each in ray.nodes() if each["NodeID"] == node_id), node_id)

    def _dismiss(self, node_id: str) -> None:
        """Lets the idle workers of a machine go: it may be lost, as one of its workers is, or cannot do runs."""
        for hand in [each for each in self._idle if each.node_id == node_id]:
            self._idle.remove(hand)
            ray.kill(hand.actor)

    def _lost(self, turn: Turn, why: str, progress: Progress | None) -> None:
        """Puts a run whose worker was lost at the front again, unless it was at its end or loses every one."""
        if standing(turn.cell.folder).state == "finished":
            self._finished(turn)
            return
        learned = progress.learned if progress else 0
        turn.losses = 1 if learned > turn.learned else turn.losses + 1
        turn.learned = max(learned, turn.learned)
        if (
            turn.losses == LOST - 1 and not self.alone
        ):  # a worker that the system kills for memory is lost like any other
            self.too_large.append(turn)
            self.view.waits(turn.cell, f"{GONE} ({why}); tried again alone at the end")
            return
        if turn.losses >= LOST:
            self._give_up(turn, Outcome("failed", f"{GONE} {turn.losses} times at the same task; the last time: {why}"))
            return
        self.view.waits(turn.cell, f"{GONE} ({why}); it goes on after {turn.learned} tasks")
        self.waiting.appendleft(turn)

    def _finished(self, turn: Turn) -> None:
        seconds, memory = cost_of(turn.cell.folder)
        self.memory = max(self.memory, memory)
        forget_failure(turn.cell.folder)
        self.view.finished(turn.cell, seconds)

    def _give_up(self, turn: Turn, outcome: Outcome) -> None:
        with contextlib.suppress(UserError):  # a full disk, which the worker met too
            note_failure(turn.cell.folder, outcome.error, outcome.log)
        self.failed[turn.cell.name] = outcome
        self.view.failed(turn.cell, outcome)

    def _end_runs(self) -> None:
        """Lets the runs end after their present step, so that their folders say `interrupted`."""
        try:
            self._board.stop.remote()
            ray.wait([*self._working], num_returns=max(len(self._working), 1), timeout=GRACE)
        except Exception:  # the cluster is gone, or there are none
            return


def _times(there: float, amount: float) -> int:
    """How often an amount fits; a share of a GPU lies within one."""
    return int(there) * int(1 / amount + 1e-9) if amount < 1 else int(there / amount + 1e-9)


def _last_line(error: BaseException) -> str:
    return str(error).strip().rpartition("\n")[2][:300] or type(error).__name__
