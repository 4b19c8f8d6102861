"""Measures a training step of every strategy relative to its lower bound."""

from typing import Any

from benchmarks.config import registry
from benchmarks.config.resolve import resolve
from benchmarks.perf.methods import MOE
from benchmarks.perf.setting import Setting
from benchmarks.perf.step import FULL
from benchmarks.perf.timing import ratio
from benchmarks.runtime import devices


APART = ("joint", "rail")  # the step of fine-tuning, and none
SETTINGS: dict[str, dict[str, Any]] = {"nusa": {"rho": FULL.rho}, "moe_adapter": MOE}


def measure(model: str, batch_size: int, classes: int, device: str) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part strategies` measures: the training step of every strategy.

    Strategies that take no steps are left out, and `joint`, whose step is that of fine-tuning. On a GPU step and lower
    bound are measured in float32, TF32 and bf16, on a CPU in float32.

    Args:
        model: name of an open_clip model.
        batch_size: images in a training step.
        classes: number of classes, with one prompt each.
        device: `cpu` or `cuda`.

    Returns:
        `NAME_step_over_floor`: the time of the step of strategy NAME / that of forward pass and input-gradient of both
        towers with frozen weights, as a dict with `median`, `low` and `high` over the steps of two trainings. The key
        ends with `_tf32` or `_bf16` in these precisions.
    """
    figures: dict[str, Any] = {}
    for precision in ("float32", "tf32", "bf16") if device == "cuda" else ("float32",):
        arithmetic = resolve({"strategy": "nusa", "device": device, "precision": precision}).common.arithmetic
        for name in registry.names("strategy"):
            strategy = registry.strategy_of(name)
            if not strategy.plugin().trains or name in APART:
                continue
            setting = Setting(model, batch_size, classes, device)
            devices.prepare(setting.classifier, arithmetic)
            plugin = strategy.plugin()(strategy.settings(**SETTINGS.get(name, {})))
            seconds = setting.beside(plugin, {"floor": setting.floor()}, trainings=2)
            ending = "" if precision == "float32" else f"_{precision}"
            figures[f"{name}_step_over_floor{ending}"] = ratio(seconds["step"], seconds["floor"])
    return figures
