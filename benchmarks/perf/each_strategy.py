"""Measures a training step of every strategy relative to its lower bound."""

from typing import Any

from benchmarks.config import registry
from benchmarks.perf.methods import MOE
from benchmarks.perf.setting import Setting
from benchmarks.perf.step import FULL
from benchmarks.perf.timing import ratio


APART = ("joint",)  # its step is that of fine-tuning
SETTINGS: dict[str, dict[str, Any]] = {"nusa": {"rho": FULL.rho}, "moe_adapter": MOE}


def measure(model: str, batch_size: int, classes: int, device: str) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part strategies` measures: the training step of every strategy.

    Strategies that do not train are left out, and `joint`, whose step is that of fine-tuning.

    Args:
        model: name of an open_clip model.
        batch_size: images in a training step.
        classes: number of classes, with one prompt each.
        device: `cpu` or `cuda`.

    Returns:
        `NAME_step_over_floor`: the time of the step of strategy NAME / that of forward pass and input-gradient of both
        towers with frozen weights, as a dict with `median`, `low` and `high` over the steps of two trainings.
    """
    figures: dict[str, Any] = {}
    for name in registry.names("strategy"):
        strategy = registry.strategy_of(name)
        if not strategy.plugin().trains or name in APART:
            continue
        setting = Setting(model, batch_size, classes, device)
        plugin = strategy.plugin()(strategy.settings(**SETTINGS.get(name, {})))
        seconds = setting.beside(plugin, {"floor": setting.floor()}, trainings=2)
        figures[f"{name}_step_over_floor"] = ratio(seconds["step"], seconds["floor"])
    return figures
