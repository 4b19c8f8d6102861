"""Measures what the harness adds to a plain loop of the same operations, and its start-up and imports."""

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


STEPS = 24  # many, since the speed of the machine varies
PROFILED = 8
STARTS = 5
SHORT = ("--strategy", "nusa", "--order", "arrows,clocks", "--iterations", "1")
IMPORTS = "import torch, open_clip, avalanche"


def bare_step(setting: Setting) -> Callable[[], None]:
    """Returns a function that does one training step of NuSA-CL in plain PyTorch.

    The step has no Avalanche, no data loader, no learning-rate schedule and no check of the loss.

    It trains a copy of the setting's model, on the same batch in every call.

    Args:
        setting: the model, with random weights, and a task of random images.
    """
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
    """Returns the share of a NuSA-CL step's time outside forward pass, loss and backward pass, 0 to 1.

    That is the time of the optimiser and of the harness (this project's training loop on Avalanche). Numerator and
    denominator come from the same steps of one training, without the first, so the machine's current speed does not
    matter.

    Args:
        setting: the model, with random weights, and a task of random images.
    """
    plugin, laps = nusa.Plugin(FULL), Laps()
    plugin.begin(setting.classifier)

    def on_step() -> None:
        setting.wait()
        laps.mark()
        if not laps.seconds["step"]:
            spent.clear()  # the first step is not counted

    template = setting.template(plugin, on_step)
    with setting.clocked(template, "forward", "criterion", "backward") as spent:
        setting.training(template)()
    return 1 - sum(spent) / sum(laps.seconds["step"])


def command(*words: str, place: Path, device: str) -> Callable[[], float]:
    """Returns a function that runs `python WORDS... FOLDER DEVICE` in a new process and returns its seconds.

    FOLDER is another one below `place` at each call: 0, 1, 2, and so on.

    Args:
        words: the first arguments of Python, for instance `-m` and a module.
        place: the folder in which the new folders are.
        device: `cpu` or `cuda`, the last argument.
    """
    number = itertools.count()

    def work() -> None:
        python(*words, str(place / str(next(number))), device)

    return timed(work)


def run_imports(place: Path, device: str) -> Callable[[], float]:
    """Returns a function that does a short run in a new process and returns the seconds that all its imports take.

    The run learns two tasks of `micro` with NuSA-CL, one step each, and writes tables and plots.

    Args:
        place: the folder in which each call makes a new folder for its run.
        device: `cpu` or `cuda`.
    """
    numbers = itertools.count()
    words = ("-m", "benchmarks.run", *SHORT, "--device", device)
    return lambda: import_seconds(*words, "--results", str(place / f"imports-{next(numbers)}"))


def measure(model: str, batch_size: int, classes: int, device: str, place: Path) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part harness` measures: what the harness adds to a plain loop.

    The harness is this project's training loop on Avalanche. Start-up is the time of the command until the end of the
    first training step. Ratios are dicts with `median`, `low` and `high`; seconds are those of the fastest round.

    Args:
        model: name of an open_clip model.
        batch_size: images in a training step.
        classes: number of classes, with one prompt each.
        device: `cpu` or `cuda`.
        place: a folder for the runs.

    Returns:
        `harness_step_over_bare_loop`: the time of NuSA-CL's step in the harness / in a plain PyTorch loop.
        `harness_step_share_outside_forward_loss_and_backward`: share of a step's time in the harness, 0 to 1.
        `start_to_first_step_over_imports`: start-up / a process that only imports torch, open_clip and Avalanche.
        `start_to_first_step_seconds`, `imports_seconds`: the times of both.
        `run_imports_over_torch_import`: the time of all imports of a run / that of `import torch`.
        `run_imports_seconds`, `torch_import_seconds`: the times of both.
    """
    setting = Setting(model, batch_size, classes, device, STEPS)
    steps = setting.beside(nusa.Plugin(FULL), {"bare": bare_step(setting)})
    outside = share_outside(Setting(model, batch_size, classes, device, PROFILED))
    start = command("-m", "benchmarks.perf.first_step", place=place, device=device)
    start()  # the first start on a machine also renders the images
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
