"""What the harness adds to a bare loop of the same operations, and what it imports."""

import itertools
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.perf.setting import LOOP, Setting
from benchmarks.perf.step import FULL
from benchmarks.perf.timing import Laps, import_seconds, in_turns, python, ratio, timed
from strategies import nusa


STEPS = 24  # many, since the machine is faster at some times than at others
PROFILED = 8
STARTS = 5
SHORT = ("--strategy", "nusa", "--order", "arrows,clocks", "--iterations", "1")
IMPORTS = "import torch, open_clip, avalanche"


def bare_step(setting: Setting) -> Callable[[], None]:
    """NuSA-CL's training step without Avalanche, loaders, schedules and checks, on a batch that lies ready."""
    plugin, model = nusa.Plugin(FULL), deepcopy(setting.classifier)
    images, labels = setting.batch, (torch.arange(setting.batch_size) % model.class_counts[0]).to(setting.device)
    plugin.begin(model)
    plugin.before_train_dataset_adaptation(SimpleNamespace(model=model))
    model.train()
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=LOOP["lr"], weight_decay=LOOP["weight_decay"], fused=True)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images, 0), labels, label_smoothing=LOOP["label_smoothing"]).backward()
        optimizer.step()

    return step


def share_outside(setting: Setting) -> float:
    """Share of the harness's steps that is neither forward, loss nor backward: the optimiser, and what it adds to a bare loop.

    Taken within the same steps, so that the machine's speed at the moment does not matter.
    """
    plugin, laps = nusa.Plugin(FULL), Laps()
    plugin.begin(setting.classifier)

    def on_step() -> None:
        setting.wait()
        laps.mark()
        if not laps.seconds["step"]:
            spent.clear()  # the first step's, which has no lap

    template = setting.template(plugin, on_step)
    with setting.clocked(template, "forward", "criterion", "backward") as spent:
        setting.training(template)()
    return 1 - sum(spent) / sum(laps.seconds["step"])


def command(*words: str, place: Path, device: str) -> Callable[[], float]:
    """Python with these words in a process of its own, which must succeed; it is told a new folder each time."""
    number = itertools.count()

    def work() -> None:
        python(*words, str(place / str(next(number))), device)

    return timed(work)


def run_imports(place: Path, device: str) -> Callable[[], float]:
    """Seconds of all imports of a short run, from its command to its tables and plots, in a new folder each time."""
    numbers = itertools.count()
    words = ("-m", "benchmarks.run", *SHORT, "--device", device)
    return lambda: import_seconds(*words, "--results", str(place / f"imports-{next(numbers)}"))


def measure(model: str, batch_size: int, classes: int, device: str, place: Path) -> dict[str, Any]:
    """A step through the harness over a step of the bare loop; the command's way to its first step over the imports."""
    setting = Setting(model, batch_size, classes, device, STEPS)
    steps = setting.beside(nusa.Plugin(FULL), {"bare": bare_step(setting)})
    outside = share_outside(Setting(model, batch_size, classes, device, PROFILED))
    start = command("-m", "benchmarks.perf.first_step", place=place, device=device)
    start()  # the first one on a machine also draws the pictures
    starts = in_turns({"first step": start, "imports": command("-c", IMPORTS, place=place, device=device)}, STARTS)
    imports = in_turns(
        {"run": run_imports(place, device), "torch": partial(import_seconds, "-c", "import torch")}, STARTS
    )
    return {
        "harness_step_over_bare_loop": ratio(steps["step"], steps["bare"]),
        "harness_step_share_outside_forward_loss_and_backward": outside,
        "start_to_first_step_over_imports": ratio(starts["first step"], starts["imports"]),
        "start_to_first_step_seconds": min(starts["first step"]),
        "imports_seconds": min(starts["imports"]),
        "run_imports_over_torch_import": ratio(imports["run"], imports["torch"]),
        "run_imports_seconds": min(imports["run"]),
        "torch_import_seconds": min(imports["torch"]),
    }
