"""Timings that are compared with each other: in turns within one run, so that a slow spell of the machine meets all alike."""

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
IMPORTED = re.compile(r"import time: +(\d+) \|")  # microseconds of a module, without those that it imports
Ratio = dict[str, float]  # median, lowest and highest of some rounds


class Laps:
    """The times between two marks in a row, in seconds, by what was done in them."""

    def __init__(self) -> None:
        self._last: float | None = None
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)

    def begin(self) -> None:
        """What came before does not count, nor does the time to the next mark."""
        self._last = None
        self.seconds.clear()

    def mark(self, what: str = "step") -> None:
        """A lap is over, in which this was done, and the next begins."""
        now = time.perf_counter()
        if self._last is not None:
            self.seconds[what].append(now - self._last)
        self._last = now


def timed(work: Callable[[], object], times: int = 1) -> Callable[[], float]:
    """The work as one that tells its own seconds, each time done so many times."""

    def run() -> float:
        began = time.perf_counter()
        for _ in range(times):
            work()
        return (time.perf_counter() - began) / times

    return run


def python(*words: str) -> str:
    """Python with these words, in a process of its own; what it wrote to stderr.

    Raises:
        UserError: it failed, with its last line.
    """
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise failure(done.returncode, done.stderr)
    return done.stderr


def import_seconds(*words: str) -> float:
    """Seconds that Python with these words spends in imports, whenever it makes them, in a process of its own."""
    lines = python("-X", "importtime", *words).splitlines()
    return sum(int(found[1]) for line in lines if (found := IMPORTED.match(line))) / 1e6


def failure(status: int, errors: str) -> UserError:
    """Of a process that ended with this status, by the last line of what it wrote to stderr."""
    last = errors.strip().rpartition("\n")[2]
    return UserError(f"a command of this part ended with {status}: {last}")


def in_turns(works: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds of each piece of work in each round, as it tells them itself."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            seconds[name].append(work())
    return seconds


def ratio(over: list[float], under: list[float]) -> Ratio:
    """Of two pieces of work round by round."""
    each = [a / b for a, b in zip(over, under, strict=True)]
    return {"median": statistics.median(each), "low": min(each), "high": max(each)}
