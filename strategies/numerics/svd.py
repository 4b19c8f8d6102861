"""The exact SVD of a weight by one of several algorithms, chosen by timing at first use on a device."""

import time
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from strategies.numerics.data_parallel import add_up


Route = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]  # W (d_out, d_in) float32 to U, S, Vh, there or on the CPU
CLEARLY = 1.5  # another route is taken only if it is so many times as fast as the first
TIMES = 3  # timed calls of each route

_taken: dict[tuple[str, torch.Size], Route] = {}  # one choice per process: equal weights, equal factors


def torch_svd(weight: Tensor, driver: str | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the thin SVD U (d_out, n), S (n,), Vh (n, d_in) of a weight, with n = min(d_out, d_in).

    Args:
        weight: (d_out, d_in).
        driver: the algorithm on a CUDA device, as in `torch.linalg.svd`; None for torch's default.
    """
    return torch.linalg.svd(weight, full_matrices=False, driver=driver)


def routes(device: torch.device) -> dict[str, Route]:
    """Returns by name the SVD algorithms for a device: `svd` on the CPU, `on the host` and `gesvd` on a GPU.

    Each takes a weight (d_out, d_in) and returns U (d_out, n), S (n,), Vh (n, d_in). `on the host` computes on the CPU
    and returns CPU tensors, so that its results are those of a run without a GPU. Torch's default on a GPU, `gesvdj`,
    is left out: torch's documentation reports some loss of precision and recommends `gesvd` where that matters, as it
    does to a method that learns in the smallest singular directions.

    Args:
        device: the device of the weights.
    """
    if device.type != "cuda":
        return {"svd": torch_svd}
    return {"on the host": lambda weight: torch_svd(weight.to("cpu")), "gesvd": partial(torch_svd, driver="gesvd")}


def route(weight: Tensor) -> Route:
    """Returns the SVD algorithm to use for weights of this shape on this device, one of `routes(weight.device)`.

    It is a function from a weight (d_out, d_in) to U (d_out, n), S (n,), Vh (n, d_in). The first call for a shape times
    the algorithms on `weight`; later calls return the same. Several processes add their times and so choose the same
    one.

    Args:
        weight: (d_out, d_in), on the device where its SVD is wanted.
    """
    kind = weight.device.type, weight.shape
    if kind not in _taken:
        among = routes(weight.device)
        _taken[kind] = among[_fastest(among, weight)] if len(among) > 1 else next(iter(among.values()))
    return _taken[kind]


def _fastest(among: Mapping[str, Route], weight: Tensor) -> str:
    seconds = torch.tensor([_seconds(each, weight) for each in among.values()], device=weight.device)  # (routes,)
    return clearly_fastest(dict(zip(among, add_up(seconds).tolist(), strict=True)))


def clearly_fastest(seconds: Mapping[str, float]) -> str:
    """Returns the name of the SVD algorithm to use, given how long each took.

    It is the first one, unless another is more than `CLEARLY` (1.5) times as fast: a smaller lead could turn with the
    next timing.

    Args:
        seconds: the seconds that each algorithm took, by its name, in order of preference.
    """
    first, best = next(iter(seconds)), min(seconds, key=lambda name: seconds[name])
    return best if seconds[best] * CLEARLY < seconds[first] else first


def _seconds(route: Route, weight: Tensor) -> float:
    """The least of `TIMES` timings, copy to the CPU included.

    One more call before them is not counted, since it also loads libraries.
    """
    taken = []
    for _ in range(1 + TIMES):
        began = time.perf_counter()
        for factor in route(weight):
            factor.to("cpu")
        taken.append(time.perf_counter() - began)
    return min(taken[1:])
