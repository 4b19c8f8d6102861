"""Exact routes to a weight's singular value decomposition, and the fastest of them on a device, as measured at first use."""

import time
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from strategies.parts.parallel import add_up


Route = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]  # W (d_out, d_in) float32 to U, S, Vh
CLEARLY = 1.5  # times as fast: of routes nearly equal, whose last digits differ, a run takes the same one every time


def routes(device: torch.device) -> dict[str, Route]:
    """All exact to float32's rounding: torch's own choice first, on a GPU another driver too, and the host."""
    if device.type == "cpu":
        return {"svd": _svd}
    return {"svd": _svd, "gesvd": partial(_svd, driver="gesvd"), "on the host": lambda weight: _svd(weight.to("cpu"))}


def _svd(weight: Tensor, driver: str | None = None) -> tuple[Tensor, Tensor, Tensor]:
    return torch.linalg.svd(weight, full_matrices=False, driver=driver)


def fastest(among: Mapping[str, Route], weight: Tensor) -> str:
    """The first of some routes, unless another is clearly faster for this weight (d_out, d_in), the way to the host included.

    Several processes choose together, by their total time, so that all decompose alike.
    """
    if len(among) == 1:
        return next(iter(among))
    seconds = torch.tensor([_seconds(route, weight) for route in among.values()], device=weight.device)  # (routes,)
    taken = dict(zip(among, add_up(seconds).tolist(), strict=True))
    first, best = next(iter(among)), min(taken, key=lambda name: taken[name])
    return best if taken[best] * CLEARLY < taken[first] else first


def _seconds(route: Route, weight: Tensor) -> float:
    """Of a second time: the first also loads libraries."""
    for _ in range(2):
        began = time.perf_counter()
        for factor in route(weight):
            factor.to("cpu")
    return time.perf_counter() - began
