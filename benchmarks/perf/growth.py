"""What grows: the step with the backbone, and a run's tasks with how many there were before."""

import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.perf.setting import Setting
from benchmarks.perf.step import FULL, STEPS
from benchmarks.perf.timing import python, ratio
from strategies import nusa


BACKBONES = ("ViT-B-32-quickgelu", "ViT-B-16-quickgelu", "ViT-L-14-quickgelu")
ROUND = 11  # tasks of micro: the same ones again and again, so that like is compared with like
TIMES = (1, 3, 10)  # 11, 33 and 110 tasks
ITERATIONS = 20


def tasks(times: int, device: str, place: Path) -> dict[str, list[float]]:
    """Seconds of each task of micro's, so many times over, by what they were spent on; through the real command."""
    stream = f"repeat:{times}:micro" if times > 1 else "micro"
    words = ["--strategy", "nusa", "--stream", stream, "--iterations", str(ITERATIONS), "--device", device]
    python("-m", "benchmarks.run", *words, "--results", str(place / str(times)))
    (cost,) = (place / str(times)).rglob("cost.json")
    seconds = json.loads(cost.read_text(encoding="utf-8"))["seconds"]
    # One figure more, before any training: not a task's.
    return {what: each[-ROUND * times :] for what, each in seconds.items() if what != "decomposition"}


def measure(batch_size: int, classes: int, device: str, place: Path) -> dict[str, Any]:
    """NuSA-CL's step over the floor by backbone; of a stream of 110 tasks the last eleven tasks over the first eleven."""
    figures: dict[str, Any] = {}
    for backbone in BACKBONES:
        setting = Setting(backbone, batch_size, classes, device, STEPS)
        seconds = setting.beside(nusa.Plugin(FULL), {"floor": setting.floor()})
        figures[f"nusa_step_over_floor_{backbone}"] = ratio(seconds["step"], seconds["floor"])
        figures[f"nusa_step_seconds_{backbone}"] = min(seconds["step"])
    for times in TIMES:
        spent = tasks(times, device, place)
        each = [sum(parts) for parts in zip(*spent.values(), strict=True)]
        figures[f"seconds_of_a_task_of_{ROUND * times}"] = statistics.median(each)
        if times == max(TIMES):
            figures["last_eleven_tasks_over_first_eleven"] = ratio(each[-ROUND:], each[:ROUND])
            for what, seconds_of in spent.items():
                figures[f"last_eleven_tasks_over_first_eleven_{what}"] = ratio(seconds_of[-ROUND:], seconds_of[:ROUND])
    return figures
