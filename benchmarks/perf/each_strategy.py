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
    """Returns the time of a step of every strategy / its lower bound (forward and input-gradient), over two trainings.

    Args:
        model: name of an open_clip model.
        batch_size: images in a step.
        classes: number of prompts.
        device: `cpu` or `cuda`.
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
