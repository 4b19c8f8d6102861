"""Measures the SVD of all attention matrices, from ViT-B/32 to ViT-bigG-14, by several algorithms."""

from collections.abc import Callable
from functools import partial
from typing import Any

import open_clip
import torch
from torch import Tensor

from benchmarks.perf.setting import Setting
from benchmarks.perf.step import FULL
from benchmarks.perf.timing import in_turns, timed
from strategies import nusa
from strategies.numerics import svd
from strategies.numerics.approximate_tail import complement, inverse


BACKBONES = ("ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-H-14", "ViT-g-14", "ViT-bigG-14")
ROUNDS = 3
MATRICES = 4  # q, k, v and o of a block
TASK = 1000  # steps of a published task
TAIL = 128  # directions of a published update
POWERS = (0, 2)


def towers(model: str) -> dict[int, int]:
    """Returns the number of transformer blocks by their width d, over both towers of an open_clip model.

    Args:
        model: name of an open_clip model, for instance `ViT-B-16`; with it the result is `{768: 12, 512: 12}`.
    """
    config = open_clip.get_model_config(model)
    assert config is not None
    found: dict[int, int] = {}
    for tower in (config["vision_cfg"], config["text_cfg"]):
        found[tower["width"]] = found.get(tower["width"], 0) + tower["layers"]
    return found


def by_gram(weight: Tensor) -> None:
    """Computes an SVD of W (d, d) from the eigenvectors of W^T W in float64, and returns nothing: only its time
    matters.

    The singular values would be as exact as in float32, the left singular vectors less so for small values.
    """
    double = weight.double()
    values, v = torch.linalg.eigh(double.T @ double)
    (double @ v / values.clamp_min(0).sqrt()).float()  # U


def one_by_one(route: Callable[[Tensor], object]) -> Callable[[Tensor], object]:
    """Returns a function of several matrices (n, d, d) that applies an SVD algorithm to one after the other.

    Args:
        route: the algorithm, which takes one matrix (d, d).
    """
    return lambda weights: [route(weight) for weight in weights]


def routes(device: str) -> dict[str, Callable[[Tensor], object]]:
    """Returns SVD algorithms by name, each a function of the four matrices (4, d, d) of a block's attention.

    `svd` is torch's default, one matrix after the other; `svd, batched` the same for all four at once; `float64 W^T W`
    as in `by_gram`. On a GPU there are also `on the host` (torch's on the CPU) and `gesvd` (torch's with that driver),
    from which a run on a GPU chooses the faster; a run on a CPU uses `svd`. `tail by complement` and `tail by inverse` find
    the 128 smallest directions alone, and not exactly (`strategies.numerics.approximate_tail`); no run uses them but those
    of the study `svd-cost`.

    Args:
        device: `cpu` or `cuda`.
    """
    taken = {name: one_by_one(route) for name, route in svd.routes(torch.device(device)).items()}
    others = {"svd": one_by_one(svd.torch_svd), "svd, batched": svd.torch_svd, "float64 W^T W": one_by_one(by_gram)}
    tails = {
        f"tail by {find.__name__}, power {power}": one_by_one(partial(find, count=TAIL, power=power))
        for find in (complement, inverse)
        for power in POWERS
    }
    return {**others, **taken, **tails}


def measure(model: str, batch_size: int, classes: int, device: str) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part decomposition` measures: the SVD of all attention matrices.

    Args:
        model: name of an open_clip model, for the last two values.
        batch_size: images in a training step, for the last value.
        classes: number of classes, with one prompt each, for the last value.
        device: `cpu` or `cuda`.

    Returns:
        `decomposition_seconds_of_all_attention_matrices`: a dict by backbone (`ViT-B-32` to `ViT-bigG-14`) of dicts
        by algorithm (the names of `routes`): seconds for q, k, v and o of all blocks of both towers.
        `seconds_of_a_step`: of NuSA-CL with `model`.
        `decomposition_seconds`: seconds that NuSA-CL's decomposition takes before a task with `model`.
        `decomposition_share_of_1000_steps`: these / (these + the seconds of 1000 training steps), 0 to 1.
    """
    setting = Setting(model, batch_size, classes, device)
    seconds: dict[int, dict[str, float]] = {}  # of a block's matrices, by width
    for width in sorted({width for backbone in BACKBONES for width in towers(backbone)}):
        torch.manual_seed(0)
        weights = torch.randn(MATRICES, width, width, device=device) / width**0.5

        def once(route: Callable[[Tensor], object], weights: Tensor = weights) -> Callable[[], float]:
            def work() -> None:
                route(weights)
                setting.wait()

            return timed(work)

        works = {name: once(route) for name, route in routes(device).items()}
        seconds[width] = {name: min(each) for name, each in in_turns(works, ROUNDS).items()}
    plugin = nusa.Plugin(FULL)
    step = min(in_turns({"step": setting.step(plugin)}, rounds=2)["step"])
    whole = {
        backbone: {
            route: sum(blocks * seconds[width][route] for width, blocks in towers(backbone).items())
            for route in routes(device)
        }
        for backbone in BACKBONES
    }
    own = plugin.decomposition_seconds / 2  # of the two trainings
    return {
        "decomposition_seconds_of_all_attention_matrices": whole,
        "seconds_of_a_step": step,
        "decomposition_seconds": own,
        "decomposition_share_of_1000_steps": own / (own + TASK * step),
    }
