"""Measures NuSA-CL's step relative to its lower bound."""

from typing import Any

from benchmarks.perf.beyond import beyond_floor
from benchmarks.perf.setting import Setting
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
    31 steps, each beside one of the lower bound.

    Args:
        model: name of an open_clip model.
        batch_size: images in a training step.
        device: `cpu` or `cuda`.

    Returns:
        `nusa_step_over_floor_N_prompts`: a step / the lower bound, for N = 10, 100 and 397 classes with a prompt each.
        `nusa_step_seconds_N_prompts`: seconds of the fastest step.
        `nusa_beyond_floor_100_prompts`: by kind of operation, the time beyond the lower bound as a share of it, as
        `beyond_floor` returns it; below 0 where the step takes less.
    """
    figures: dict[str, Any] = {}
    for classes in PROMPTS:
        setting = Setting(model, batch_size, classes, device, CLOSE_STEPS)
        seconds = setting.beside(nusa.Plugin(FULL), {"floor": setting.floor()})
        figures |= {
            f"nusa_step_over_floor_{classes}_prompts": ratio(seconds["step"], seconds["floor"]),
            f"nusa_step_seconds_{classes}_prompts": min(seconds["step"]),
        }
    setting = Setting(model, batch_size, PROFILED, device, STEPS)
    beyond = beyond_floor(setting, nusa.Plugin(FULL), setting.floor(), FULL.rank)
    return {**figures, f"nusa_beyond_floor_{PROFILED}_prompts": beyond}
