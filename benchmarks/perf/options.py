"""Measures the effect of `--precision`, `--compile` and `--checkpointing` on NuSA-CL's step."""

import time
from collections.abc import Callable
from typing import Any

from benchmarks.config.errors import UserError
from benchmarks.config.resolve import resolve
from benchmarks.perf.setting import Setting
from benchmarks.perf.step import FULL
from benchmarks.perf.timing import in_turns, ratio
from benchmarks.runtime import devices
from strategies import nusa
from strategies.numerics.precision import set_tf32


ROUNDS = 3
OPTIONS: dict[str, dict[str, Any]] = {
    "tf32": {"precision": "tf32"},
    "bf16": {"precision": "bf16"},
    "compile": {"compile": True},
    "checkpointing": {"checkpointing": True},
}


def _under(step: Callable[[], float], *, tf32: bool) -> Callable[[], float]:
    """Returns the step with TF32, a setting of the whole process, on or off."""

    def run() -> float:
        set_tf32(tf32)
        return step()

    return run


def measure(model: str, batch_size: int, classes: int, device: str) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part options` measures: NuSA-CL's step with an option / without.

    The options are `--precision tf32`, `--precision bf16`, `--compile` and `--checkpointing` of `benchmarks.run`.

    Args:
        model: name of an open_clip model.
        batch_size: images in a training step.
        classes: number of classes, with one prompt each.
        device: `cpu` or `cuda`.

    Returns:
        `NAME_step_over_plain`: the time of a step with the option / without, as a dict with `median`, `low` and `high`
        over three rounds, or the error's message if the device does not support the option; NAME is `tf32`, `bf16`,
        `compile` or `checkpointing`.
        `NAME_first_training_seconds`: the seconds of the first training of three steps with the option, including
        decomposition and compilation; absent if the device does not support the option.
    """
    figures: dict[str, Any] = {}
    for name, settings in OPTIONS.items():
        common = resolve({"strategy": "nusa", "device": device, **settings}).common
        try:
            devices.check(common.device, common.arithmetic)
        except UserError as error:
            figures[f"{name}_step_over_plain"] = str(error)
            continue
        plain, changed = Setting(model, batch_size, classes, device), Setting(model, batch_size, classes, device)
        devices.prepare(changed.classifier, common.arithmetic)
        works = {
            "plain": _under(plain.step(nusa.Plugin(FULL)), tf32=False),
            "changed": _under(changed.step(nusa.Plugin(FULL)), tf32=common.precision == "tf32"),
        }
        began = time.perf_counter()
        works["changed"]()
        figures[f"{name}_first_training_seconds"] = time.perf_counter() - began
        seconds = in_turns(works, ROUNDS)
        figures[f"{name}_step_over_plain"] = ratio(seconds["changed"], seconds["plain"])
    return figures
