"""Measures NuSA-CL's step relative to its lower bound."""

from typing import Any

from benchmarks.perf.beyond import beyond_floor
from benchmarks.perf.setting import Setting, operations
from benchmarks.perf.timing import ratio
from strategies import nusa


STEPS = 8  # the first is not counted
CLOSE_STEPS = 4 * STEPS  # many, since the ratio of a single step varies more than the difference of interest
PROMPTS = (10, 100, 397)
PROFILED = 100  # number of prompts of the profile
FULL = nusa.Settings(rho=0.5)  # at the paper's 0.95 some matrices of random weights have fewer than 128 null directions


def measure(model: str, batch_size: int, device: str) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part step` measures: NuSA-CL's training step.

    Its time is compared with its lower bound: the forward pass and input-gradient of both towers with frozen weights, of
    all tokens of all blocks and each prompt for itself. Ratios of times are dicts with `median`, `low` and `high` over
    31 steps, each beside one of the lower bound. How much of the spread is the machine's own, the lower bound beside
    itself tells.

    Args:
        model: name of an open_clip model.
        batch_size: images in a training step.
        device: `cpu` or `cuda`.

    Returns:
        `nusa_step_over_floor_N_prompts`: a step / the lower bound, for N = 10, 100 and 397 classes with a prompt each.
        `nusa_step_seconds_N_prompts`: seconds of the fastest step.
        `floor_over_itself_N_prompts`: the lower bound / the lower bound a step earlier, over 30 pairs.
        `nusa_operations_over_floor_N_prompts`: floating-point operations of the matrix products and the attention of a
        step / those of the lower bound.
        `nusa_beyond_floor_100_prompts`: by kind of operation, the time beyond the lower bound as a share of it, as
        `beyond_floor` returns it; below 0 where the step takes less.
    """
    figures: dict[str, Any] = {}
    for classes in PROMPTS:
        setting = Setting(model, batch_size, classes, device, CLOSE_STEPS)
        seconds = setting.beside(nusa.Plugin(FULL), {"floor": setting.floor()})
        floors = seconds["floor"]
        figures |= {
            f"nusa_step_over_floor_{classes}_prompts": ratio(seconds["step"], floors),
            f"nusa_step_seconds_{classes}_prompts": min(seconds["step"]),
            f"floor_over_itself_{classes}_prompts": ratio(floors[1:], floors[:-1]),
            f"nusa_operations_over_floor_{classes}_prompts": _operations(model, batch_size, classes, device),
        }
    setting = Setting(model, batch_size, PROFILED, device, STEPS)
    beyond = beyond_floor(setting, nusa.Plugin(FULL), setting.floor(), FULL.rank)
    return {**figures, f"nusa_beyond_floor_{PROFILED}_prompts": beyond}


def _operations(model: str, batch_size: int, classes: int, device: str) -> float:
    """Floating-point operations of a step of NuSA-CL over those of its lower bound."""
    setting, plugin = Setting(model, batch_size, classes, device, steps=1), nusa.Plugin(FULL)
    plugin.begin(setting.classifier)
    floor, train = setting.floor(), setting.training(setting.template(plugin))
    return operations(train) / operations(floor)
