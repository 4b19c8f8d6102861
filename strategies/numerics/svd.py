"""Exact routes to a weight's singular value decomposition, and the one that is taken on a device, as measured at first use."""

import time
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from strategies.numerics.data_parallel import add_up


Route = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]  # W (d_out, d_in) float32 to U, S, Vh, here or on the host
CLEARLY = 1.5  # times as fast
TIMES = 3

_taken: dict[tuple[str, torch.Size], Route] = {}  # once in a process: the same weight comes out the same again


def torch_svd(weight: Tensor, driver: str | None = None) -> tuple[Tensor, Tensor, Tensor]:
    return torch.linalg.svd(weight, full_matrices=False, driver=driver)


def routes(device: torch.device) -> dict[str, Route]:
    """By name; on a GPU first the one whose figures are the CPU's.

    Torch's own choice on a GPU, `gesvdj`, is not among them: its documentation speaks of some loss of precision, and of `gesvd`
    where that matters, as it does to a method that learns in the smallest directions.
    """
    if device.type != "cuda":
        return {"svd": torch_svd}
    return {"on the host": lambda weight: torch_svd(weight.to("cpu")), "gesvd": partial(torch_svd, driver="gesvd")}


def route(weight: Tensor) -> Route:
    """The one for a weight (d_out, d_in) of this shape on its device; several processes choose it together."""
    kind = weight.device.type, weight.shape
    if kind not in _taken:
        among = routes(weight.device)
        _taken[kind] = among[_fastest(among, weight)] if len(among) > 1 else next(iter(among.values()))
    return _taken[kind]


def _fastest(among: Mapping[str, Route], weight: Tensor) -> str:
    seconds = torch.tensor([_seconds(each, weight) for each in among.values()], device=weight.device)  # (routes,)
    return clearly_fastest(dict(zip(among, add_up(seconds).tolist(), strict=True)))


def clearly_fastest(seconds: Mapping[str, float]) -> str:
    """The first, unless another is faster by so much that it would be so the next time too."""
    first, best = next(iter(seconds)), min(seconds, key=lambda name: seconds[name])
    return best if seconds[best] * CLEARLY < seconds[first] else first


def _seconds(route: Route, weight: Tensor) -> float:
    """The least of some times, the way to the host included; a time before them also loads libraries."""
    taken = []
    for _ in range(1 + TIMES):
        began = time.perf_counter()
        for factor in route(weight):
            factor.to("cpu")
        taken.append(time.perf_counter() - began)
    return min(taken[1:])
