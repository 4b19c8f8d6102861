"""Every route to a decomposition is exact down to the smallest directions; the first is left only for a clearly faster one."""

import pytest
import torch

from strategies.numerics.svd import clearly_fastest, route, routes


@pytest.mark.parametrize("shape", [(256, 256), (96, 160), (160, 96)])
def test_every_route_of_a_device_is_exact_down_to_the_smallest_directions(
    shape: tuple[int, int], device: torch.device
) -> None:
    torch.manual_seed(0)
    rank = min(shape)
    u, v = (torch.linalg.qr(torch.randn(side, rank, dtype=torch.float64)).Q for side in shape)
    singular = torch.logspace(0, -6, rank, dtype=torch.float64)
    weight = (u * singular @ v.T).float().to(device)
    for name, each in {**routes(device), "taken": route(weight)}.items():
        u, s, vh = (factor.cpu().double() for factor in each(weight))
        assert torch.allclose(s, singular, atol=1e-6), name
        assert torch.allclose(u * s @ vh, weight.cpu().double(), atol=1e-5), name
        assert (u.T @ u - torch.eye(rank)).abs().max() < 1e-5, name
        assert (vh @ vh.T - torch.eye(rank)).abs().max() < 1e-5, name


def test_the_first_route_is_left_only_for_one_that_is_clearly_faster() -> None:
    assert clearly_fastest({"first": 1.0, "second": 0.7, "third": 2.0}) == "first"
    assert clearly_fastest({"first": 1.0, "second": 0.7, "third": 0.6}) == "third"
    assert clearly_fastest({"first": 1.0}) == "first"
