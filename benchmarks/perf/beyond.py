"""What a step spends beyond its floor, by kind of operation, by torch's profiler."""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.perf.setting import Setting
from strategies.base import StrategyPlugin


PRODUCTS = ("aten::mm", "aten::addmm", "aten::addmm_")
KINDS = {
    "dropout": ("aten::random_", "aten::bitwise_and", "aten::ge_", "aten::copy_", "aten::mul_", "aten::addcmul_"),
    "optimiser": ("aten::_fused_adamw_",),
}
UNCOUNTED = 2  # rounds: the first step decomposes, and memory is touched for the first time


def kind(name: str, shapes: Sequence[Sequence[int]], rank: int) -> str:
    """Of an operation of torch's, of inputs of these shapes."""
    if name in PRODUCTS:
        return "thin products" if any(rank in shape for shape in shapes) else "wide products"
    return next((kind for kind, names in KINDS.items() if name in names), "all else")


def _profile() -> profile:
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    return profile(activities=activities, record_shapes=True)


def _seconds(watched: profile, setting: Setting, rank: int) -> Counter[str]:
    """By kind."""
    found: Counter[str] = Counter()
    for event in watched.key_averages(group_by_input_shape=True):
        spent = event.self_device_time_total if setting.device.type == "cuda" else event.self_cpu_time_total
        found[kind(event.key, event.input_shapes, rank)] += spent / 1e6
    return found


def beyond_floor(setting: Setting, plugin: StrategyPlugin, floor: Callable[[], None], rank: int) -> dict[str, float]:
    """What each kind of operation takes beyond what it takes in the floor, as a share of the whole floor.

    Medians over steps of one training, each beside a floor.

    Args:
        rank: of the updates; products of matrices with a side of this length are thin.
    """
    plugin.begin(setting.classifier)
    rounds: list[dict[str, float]] = []
    watched = _profile()

    def on_step() -> None:
        nonlocal watched
        setting.wait()
        watched.stop()
        with _profile() as beside:
            floor()
            setting.wait()
        step, below = _seconds(watched, setting, rank), _seconds(beside, setting, rank)
        rounds.append({name: (step[name] - below[name]) / below.total() for name in step | below})
        watched = _profile()
        watched.start()

    train = setting.training(setting.template(plugin, on_step))
    watched.start()
    try:
        train()
    finally:
        watched.stop()  # one left open would crash the process at its end
    return {name: statistics.median(each[name] for each in rounds[UNCOUNTED:]) for name in rounds[-1]}
