"""Measures how time grows: of the step with the size of the backbone, and of a task with the number of earlier
tasks.
"""

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
ROUND = 11  # tasks of micro, which are repeated, so that equal tasks are compared
TIMES = (1, 3, 10)  # 11, 33 and 110 tasks
ITERATIONS = 20
COMMAND = ("-m", "benchmarks.perf.one_by_one")


class Run:
    """A run of NuSA-CL on the eleven tasks of `micro`, repeated, in another process that learns a task at each `learn`.

    Making the object starts the process, and returns when the first `freely` tasks are learned.

    Args:
        times: how often the eleven tasks are repeated.
        device: `cpu` or `cuda`.
        place: the folder in which the run folder is made.
        freely: number of tasks that are learned without a call of `learn`; if all, the run is finished then.

    Raises:
        UserError: the process failed; the message has the last line of its stderr.
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
        """Blocks until the process waits, or ends."""
        assert self._process.stdout
        if "waiting\n" in self._process.stdout:  # reads up to there, or to the end
            return
        self.end()
        if self._process.returncode:
            raise failure(self._process.returncode, self._errors.read_text(encoding="utf-8", errors="replace"))

    def learn(self) -> None:
        """Lets the process learn one more task, and returns when this is done.

        Raises:
            UserError: the process failed; the message has the last line of its stderr.
        """
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._wait()

    def end(self) -> None:
        """Ends the process without learning the remaining tasks."""
        self._process.communicate()

    def seconds(self) -> dict[str, list[float]]:
        """Returns the seconds of each learned task by activity: `training`, `evaluation`, `spectrum` and `saving`.

        Each list has one number for each task, in the order of learning. `spectrum` is the time of all measurements,
        including the SVD that NuSA-CL uses; `saving` that of checkpoint and tables. `saving` lacks the last task until
        the run is finished, since the time of saving is recorded with the next task.
        """
        (cost,) = self.place.rglob("cost.json")
        found = json.loads(cost.read_text(encoding="utf-8"))["seconds"]
        # The others also have an entry before any training. The SVD that NuSA-CL uses is part of `spectrum`.
        others = {what: found[what][1:] for what in ("evaluation", "spectrum", "saving")}
        return {"training": found["training"], **others}


def total(seconds: dict[str, list[float]]) -> list[float]:
    """Returns the seconds of each task, the sum over all activities, in the order of learning.

    Args:
        seconds: the result of `Run.seconds`; a last task whose saving is not recorded is left out.
    """
    return [sum(parts) for parts in zip(*seconds.values(), strict=False)]


def late_over_early(device: str, place: Path) -> tuple[list[float], dict[str, Ratio]]:
    """Returns how long NuSA-CL takes for late tasks of a stream of 110, and relative to early ones.

    The stream is the eleven tasks of `micro`, ten times. One run learns tasks 100 to 110, another one tasks 1 to 11, in
    turns, so that a slow phase of the machine affects both. Of these eleven pairs of equal tasks the first is ignored,
    because a process learns its first task more slowly, and the last, because its saving is not recorded in both runs:
    tasks 101 to 109 are compared with tasks 2 to 10.

    Args:
        device: `cpu` or `cuda`.
        place: a folder for the runs.

    Returns:
        The seconds of each of the 110 tasks of the run that learns all, and a dict of ratios late / early, each with
        `median`, `low` and `high` over the nine pairs. Its keys are the empty text for the whole task, and `_training`,
        `_evaluation`, `_spectrum` (measurements) and `_saving` for one activity.
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
    """Returns what `python -m benchmarks.perf --part growth` measures: how time grows with backbone and stream.

    Ratios are dicts with `median`, `low` and `high`. The lower bound of a step is the forward pass and input-gradient of
    both towers with frozen weights.

    Args:
        batch_size: images in a training step.
        classes: number of classes, with one prompt each.
        device: `cpu` or `cuda`.
        place: a folder for the runs.

    Returns:
        `nusa_step_over_floor_BACKBONE`: the time of NuSA-CL's training step / its lower bound, for ViT-B-32, ViT-B-16 and
        ViT-L-14 with QuickGELU.
        `nusa_step_seconds_BACKBONE`: seconds of the fastest step.
        `seconds_of_a_task_of_N`: the median seconds of a task in a stream of N tasks (11, 33 and 110).
        `tasks_101_to_109_over_2_to_10`: the time of these late tasks / that of these early ones; the same with
        `_training`, `_evaluation`, `_spectrum` (measurements) or `_saving` at the end for one activity.
    """
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
