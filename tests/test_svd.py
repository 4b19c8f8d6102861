"""Every route to a decomposition is exact, and one is left only for another that is clearly faster."""

import time

import pytest
import torch
from torch import Tensor

from strategies.parts.svd import fastest, routes


@pytest.mark.parametrize("shape", [(48, 48), (20, 32), (32, 20)])
def test_every_route_of_a_device_gives_the_weight_back(shape: tuple[int, int], device: torch.device) -> None:
    torch.manual_seed(0)
    weight = torch.randn(shape).to(device)
    reference = torch.linalg.svdvals(weight.cpu().double())
    for name, route in routes(device).items():
        u, s, vh = (factor.cpu().double() for factor in route(weight))
        assert torch.allclose(s, reference, atol=1e-5), name
        assert torch.allclose(u * s @ vh, weight.cpu().double(), atol=1e-5), name
        assert (u.T @ u - torch.eye(len(s))).abs().max() < 1e-5, name
        assert (vh @ vh.T - torch.eye(len(s))).abs().max() < 1e-5, name


def test_the_first_route_is_taken_unless_another_is_clearly_faster(device: torch.device) -> None:
    svd = routes(device)["svd"]

    def slow(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        time.sleep(0.5)
        return svd(weight)

    def hardly_faster(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        time.sleep(0.4)
        return svd(weight)

    weight = torch.randn(4, 4).to(device)
    assert fastest({"slow": slow, "hardly faster": hardly_faster}, weight) == "slow"
    assert fastest({"slow": slow, "hardly faster": hardly_faster, "svd": svd}, weight) == "svd"
    assert fastest({"svd": svd, "slow": slow}, weight) == "svd"
