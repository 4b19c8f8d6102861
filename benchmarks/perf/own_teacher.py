"""Measures what it costs to be one's own teacher: time and memory of NuSA-Self's training step, relative to NuSA-CL's."""

from typing import Any

from benchmarks.perf.memory import training_peak
from benchmarks.perf.setting import Setting
from benchmarks.perf.step import FULL
from benchmarks.perf.timing import ratio
from strategies import nusa, nusa_self
from strategies.base import StrategyPlugin


STEPS = 4  # the first is not counted
CLASSES = (10, 100)


def measure(model: str, batch_size: int, device: str) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part self` measures: NuSA-Self's training step, with its default settings.

    Each step is timed beside its lower bound, the forward pass and input-gradient of both towers with frozen weights, so
    that a slow phase of the machine affects both.

    Args:
        model: name of an open_clip model.
        batch_size: images in a training step.
        device: `cpu` or `cuda`; memory is measured on a CPU alone.

    Returns:
        With N = 10 and 100 classes with a prompt each, and NAME `nusa` and `nusa_self`:
        `NAME_step_over_floor_N_prompts`: a step / the lower bound, a dict with `median`, `low` and `high` over steps.
        `nusa_self_step_over_nusa_step_N_prompts`: the ratio of the two medians.
        `NAME_peak_bytes_N_prompts`: the most memory of a training beyond the model itself.
        `nusa_self_memory_over_nusa_memory_N_prompts`: the ratio of the two, each with the model.
    """
    figures: dict[str, Any] = {}
    for classes in CLASSES:
        ending, steps, peaks = f"_{classes}_prompts", {}, {}
        for name, made in _methods().items():
            setting = Setting(model, batch_size, classes, device, STEPS)
            seconds = setting.beside(made, {"floor": setting.floor()})
            steps[name] = ratio(seconds["step"], seconds["floor"])
            figures[f"{name}_step_over_floor{ending}"] = steps[name]
        both = steps["nusa_self"]["median"] / steps["nusa"]["median"]
        figures[f"nusa_self_step_over_nusa_step{ending}"] = both
        if device != "cpu":
            continue
        for name, made in _methods().items():
            setting = Setting(model, batch_size, classes, steps=2)
            peaks[name] = training_peak(setting, made)
            figures[f"{name}_peak_bytes{ending}"] = peaks[name]
        weights = sum(parameter.nbytes for parameter in setting.classifier.clip.parameters())
        whole = {name: peak + weights for name, peak in peaks.items()}
        figures[f"nusa_self_memory_over_nusa_memory{ending}"] = whole["nusa_self"] / whole["nusa"]
    return figures


def _methods() -> dict[str, StrategyPlugin]:
    return {"nusa": nusa.Plugin(FULL), "nusa_self": nusa_self.Plugin(nusa_self.Settings())}
