"""A training step of every strategy beside the lower bound of a step."""

from typing import Any

from benchmarks.config import registry
from benchmarks.perf.methods import MOE
from benchmarks.perf.setting import Setting
from benchmarks.perf.step import FULL
from benchmarks.perf.timing import ratio


APART = ("joint",)  # it trains as fine-tuning does, on a loader of all tasks
SETTINGS: dict[str, dict[str, Any]] = {"nusa": {"rho": FULL.rho}, "moe_adapter": MOE}


def measure(model: str, batch_size: int, classes: int, device: str) -> dict[str, Any]:
    """A step of every strategy that trains over forward and input-gradient, in the first training and in a later one."""
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
