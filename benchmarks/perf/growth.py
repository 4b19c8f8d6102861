"""What grows: the step with the backbone, and a run's tasks with how many there were before."""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.config.registry import ROOT
from benchmarks.perf.setting import Setting
from benchmarks.perf.step import FULL, STEPS
from benchmarks.perf.timing import Ratio, failure, ratio
from strategies import nusa


BACKBONES = ("ViT-B-32-quickgelu", "ViT-B-16-quickgelu", "ViT-L-14-quickgelu")
ROUND = 11  # tasks of micro: the same ones again and again, so that like is compared with like
TIMES = (1, 3, 10)  # 11, 33 and 110 tasks
ITERATIONS = 20
COMMAND = ("-m", "benchmarks.perf.one_by_one")


class Run:
    """NuSA-CL on micro's tasks, so many times over, in a process of its own that goes on when it is told to.

    Args:
        place: a folder for it.
        freely: tasks that it learns before it waits for the first time; all of them where that is no fewer.

    Raises:
        UserError: the command failed, with its last line.
    """

    def __init__(self, times: int, device: str, place: Path, freely: int) -> None:
        self.place, self._errors = place, place.with_suffix(".errors")
        stream = "micro" if times == 1 else f"repeat:{times}:micro"
        words = [str(freely), stream, str(ITERATIONS), device, str(place)]
        with self._errors.open("w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [sys.executable, *COMMAND, *words],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
        self._wait()

    def _wait(self) -> None:
        """Until it waits, or ends."""
        assert self._process.stdout
        if "waiting\n" in self._process.stdout:  # reads up to there, or to the end
            return
        self.end()
        if self._process.returncode:
            raise failure(self._process.returncode, self._errors.read_text(encoding="utf-8", errors="replace"))

    def learn(self) -> None:
        """One task more."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._wait()

    def end(self) -> None:
        """Without learning what is left."""
        self._process.communicate()

    def seconds(self) -> dict[str, list[float]]:
        """Of each task, by what they were spent on; of one that waits, saving the last state is not known yet."""
        (cost,) = self.place.rglob("cost.json")
        found = json.loads(cost.read_text(encoding="utf-8"))["seconds"]
        # All but training also have the state before any. NuSA-CL decomposes for its spectrum, which counts it.
        others = {what: found[what][1:] for what in ("evaluation", "spectrum", "saving")}
        return {"training": found["training"], **others}


def total(seconds: dict[str, list[float]]) -> list[float]:
    """Of each task that is over, everything."""
    return [sum(parts) for parts in zip(*seconds.values(), strict=False)]


def late_over_early(device: str, place: Path) -> tuple[list[float], dict[str, Ratio]]:
    """Seconds of each of 110 tasks, and the last round of them over the first round of another such run, task by task in turns.

    So a slow spell of the machine meets both. The first pair does not count, since a process learns its first task slower,
    nor the last, where one has not ended and the other not gone on.
    """
    late = Run(max(TIMES), device, place / "late", freely=ROUND * (max(TIMES) - 1))
    early = Run(max(TIMES), device, place / "early", freely=0)
    for _ in range(ROUND):
        late.learn()
        early.learn()
    early.end()
    over, under = late.seconds(), early.seconds()
    pairs = {"": (total(over), total(under)), **{f"_{what}": (over[what], under[what]) for what in over}}
    ratios = {what: ratio(a[-ROUND:][1:-1], b[1 : ROUND - 1]) for what, (a, b) in pairs.items()}
    return total(over), ratios


def measure(batch_size: int, classes: int, device: str, place: Path) -> dict[str, Any]:
    """NuSA-CL's step over the floor by backbone; tasks of a stream by their number, and those after 100 over the first."""
    figures: dict[str, Any] = {}
    for backbone in BACKBONES:
        setting = Setting(backbone, batch_size, classes, device, STEPS)
        seconds = setting.beside(nusa.Plugin(FULL), {"floor": setting.floor()})
        figures[f"nusa_step_over_floor_{backbone}"] = ratio(seconds["step"], seconds["floor"])
        figures[f"nusa_step_seconds_{backbone}"] = min(seconds["step"])
    for times in TIMES[:-1]:
        tasks = total(Run(times, device, place / str(times), freely=ROUND * times).seconds())
        figures[f"seconds_of_a_task_of_{len(tasks)}"] = statistics.median(tasks)
    tasks, ratios = late_over_early(device, place)
    figures[f"seconds_of_a_task_of_{len(tasks)}"] = statistics.median(tasks)
    return figures | {f"tasks_101_to_109_over_2_to_10{what}": each for what, each in ratios.items()}
