"""Times pieces of work in turns within one process, so that a slow phase of the machine affects all alike."""

import os
import re
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping

from benchmarks.config.errors import UserError
from benchmarks.config.registry import ROOT


ROUNDS = 5
IMPORTED = re.compile(r"import time: +(\d+) \|")  # microseconds of one module, without the modules that it imports
Ratio = dict[str, float]  # `median`, `low` and `high` over some rounds


class Laps:
    """A stopwatch: `mark(NAME)` appends the seconds since the mark before it to the list `seconds[NAME]`.

    The first mark of a new object records nothing, since there is no mark before it.

    Attributes:
        seconds: by name, the list of all recorded seconds, in the order of the marks.
    """

    def __init__(self) -> None:
        self._last: float | None = None
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)

    def begin(self) -> None:
        """Deletes all recorded seconds; the next mark records nothing, as in a new object."""
        self._last = None
        self.seconds.clear()

    def mark(self, what: str = "step") -> None:
        """Appends the seconds since the mark before this one to `seconds[what]`; the first mark only starts the time.

        Args:
            what: the name of what was done between both marks.
        """
        now = time.perf_counter()
        if self._last is not None:
            self.seconds[what].append(now - self._last)
        self._last = now


def timed(work: Callable[[], object], times: int = 1) -> Callable[[], float]:
    """Returns a function that calls `work` some times in a row and returns the mean seconds of one call.

    Args:
        work: what to time; what it returns is ignored.
        times: number of calls.
    """

    def run() -> float:
        began = time.perf_counter()
        for _ in range(times):
            work()
        return (time.perf_counter() - began) / times

    return run


def python(*words: str, threads: int | None = None) -> subprocess.CompletedProcess[str]:
    """Runs Python in a new process, in the root of this repository, and returns the process with what it wrote.

    Args:
        words: the command-line arguments of Python, for instance `-m` and a module.
        threads: of torch; None for as many as it takes by itself.

    Raises:
        UserError: the process failed; the message has the last line of its errors.
    """
    env = None if threads is None else {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise failure(done.returncode, done.stderr)
    return done


def import_seconds(*words: str) -> float:
    """Returns the seconds that a new process spends in all its imports, as `python -X importtime` reports them.

    Args:
        words: the command-line arguments of Python, for instance `-c` and `import torch`.

    Raises:
        UserError: the process failed; the message has the last line of its errors.
    """
    lines = python("-X", "importtime", *words).stderr.splitlines()
    return sum(int(found[1]) for line in lines if (found := IMPORTED.match(line))) / 1e6


def failure(status: int, errors: str) -> UserError:
    """Returns the error to raise for a failed process; its message has the exit status and the last line of stderr.

    Args:
        status: its exit status.
        errors: what it wrote to stderr.
    """
    last = errors.strip().rpartition("\n")[2]
    return UserError(f"a command of this part ended with {status}: {last}")


def in_turns(works: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Does some pieces of work in turns and returns the seconds of each by name, a list of one number for each round.

    Args:
        works: functions by name, each of which does its work and returns its seconds, as `timed` makes them.
        rounds: in each round, every piece of work is done once.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            seconds[name].append(work())
    return seconds


def ratio(over: list[float], under: list[float]) -> Ratio:
    """Returns the ratio of the times of two pieces of work: `median`, `low` (least) and `high` (greatest) over the rounds.

    Args:
        over: seconds of the numerator in each round.
        under: seconds of the denominator in the same rounds.
    """
    each = [a / b for a, b in zip(over, under, strict=True)]
    return {"median": statistics.median(each), "low": min(each), "high": max(each)}
