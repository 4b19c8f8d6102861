"""Timings that are compared with each other."""

import time
from collections.abc import Callable


ROUNDS = 5


class Laps:
    """The shortest time between two marks in a row, in seconds."""

    def __init__(self) -> None:
        self.last: float | None = None
        self.shortest = float("inf")

    def begin(self) -> None:
        """What came before does not count."""
        self.last = time.perf_counter()

    def mark(self) -> None:
        """A lap is over, and the next begins."""
        now = time.perf_counter()
        if self.last is not None:
            self.shortest = min(self.shortest, now - self.last)
        self.last = now


def best(*works: Callable[[int], object], rounds: int = ROUNDS) -> list[float]:
    """Seconds of each piece of work, the best of some rounds, in turns so that a slow spell of the machine meets all alike."""
    seconds: list[list[float]] = [[] for _ in works]
    for round_ in range(rounds):
        for each, work in zip(seconds, works, strict=True):
            began = time.perf_counter()
            work(round_)
            each.append(time.perf_counter() - began)
    return [min(each) for each in seconds]
