"""Profiles what a training step takes beyond its lower bound, by kind of operation, with torch's profiler."""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.perf.setting import Setting
from strategies.base import StrategyPlugin


PRODUCTS = ("aten::mm", "aten::addmm", "aten::addmm_", "aten::bmm")
KINDS = {
    "dropout": ("aten::random_", "aten::bitwise_and", "aten::ge_", "aten::copy_", "aten::mul_", "aten::addcmul_"),
    "optimiser": ("aten::_fused_adamw_",),
}
UNCOUNTED = 2  # number of ignored rounds: the first steps also compute the SVD and allocate memory


def kind(name: str, shapes: Sequence[Sequence[int]], rank: int) -> str:
    """Returns the kind of an operation in a step of NuSA-CL.

    It is `thin products` (matrix products of the low-rank update), `wide products` (all other matrix products),
    `dropout` or `optimiser` (known by the operation's name), or `all else`.

    Args:
        name: torch's name of the operation, for instance `aten::mm`.
        shapes: the shapes of its inputs.
        rank: r of the updates; a matrix product is thin if a side of one of its inputs has this length.
    """
    if name in PRODUCTS:
        return "thin products" if any(rank in shape for shape in shapes) else "wide products"
    return next((kind for kind, names in KINDS.items() if name in names), "all else")


def _profile() -> profile:
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    return profile(activities=activities, record_shapes=True)


def _seconds(watched: profile, setting: Setting, rank: int) -> Counter[str]:
    """Returns the seconds of each kind of operation."""
    found: Counter[str] = Counter()
    for event in watched.key_averages(group_by_input_shape=True):
        spent = event.self_device_time_total if setting.device.type == "cuda" else event.self_cpu_time_total
        found[kind(event.key, event.input_shapes, rank)] += spent / 1e6
    return found


def beyond_floor(setting: Setting, plugin: StrategyPlugin, floor: Callable[[], None], rank: int) -> dict[str, float]:
    """Returns, for each kind of operation, how much longer a training step takes than its lower bound.

    The lower bound is the forward pass and input-gradient of both towers with frozen weights, profiled after each step.
    Keys are `thin products` (low-rank), `wide products`, `dropout`, `optimiser` and `all else`, as far as they occur. A
    value is (seconds of this kind in the step - in the lower bound) / seconds of the whole lower bound: 0.1 is ten
    percent. Values are medians over the steps of one training. Seconds are the GPU's on a GPU, else the CPU's.

    Args:
        setting: the model, with random weights, and a task of random images.
        plugin: the method; its `begin` has not been called yet.
        floor: does the work of the lower bound once; made by `setting.floor()`.
        rank: r of the updates; a matrix product is thin if a side of one of its inputs has this length.
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
        watched.stop()  # a profiler that is still running crashes the process at exit
    return {name: statistics.median(each[name] for each in rounds[UNCOUNTED:]) for name in rounds[-1]}
