"""The approximate tails of a weight, beside its decomposition."""

import pytest
import torch

from strategies.numerics.approximate_tail import complement, inverse, squared_sine
from strategies.numerics.subspace import choose, decompose


def weight_of(values: torch.Tensor, d_out: int, d_in: int) -> torch.Tensor:
    torch.manual_seed(0)
    u, v = (torch.linalg.qr(torch.randn(d, len(values))).Q for d in (d_out, d_in))
    return (u * values) @ v.T


@pytest.mark.parametrize("find", [complement, inverse])
def test_with_a_gap_before_the_tail_they_are_the_exact_one(find: object, device: torch.device) -> None:
    weight = weight_of(torch.cat([torch.linspace(2, 1, 18), torch.linspace(0.02, 0.01, 6)]), 24, 24).to(device)
    u, vh = choose(decompose(weight), 6, "tail")
    found = find(weight, 6, 2)  # type: ignore[operator]
    for some, exact in ((found[0], u), (found[1].T, vh.T)):
        assert torch.allclose(some.T @ some, torch.eye(6, device=device), atol=1e-5)
        assert squared_sine(some, exact) < 1e-5


@pytest.mark.parametrize("find", [complement, inverse])
def test_without_a_gap_every_power_comes_nearer(find: object) -> None:
    torch.manual_seed(1)
    weight = torch.randn(64, 64)
    exact = choose(decompose(weight), 16, "tail")[1]
    sines = [squared_sine(find(weight, 16, power)[1].T, exact.T) for power in (0, 2, 8)]  # type: ignore[operator]
    assert sines == sorted(sines, reverse=True) and sines[2] < sines[0] / 2


def test_a_complement_of_a_weight_that_is_not_square(device: torch.device) -> None:
    weight = weight_of(torch.tensor([3.0, 2.0, 1.0, 0.01, 0.005]), 9, 5).to(device)
    u, vh = complement(weight, 2, 3)
    exact = choose(decompose(weight), 2, "tail")
    assert (u.shape, vh.shape) == ((9, 2), (2, 5)) and squared_sine(vh.T, exact[1].T) < 1e-5
    assert (u.T @ decompose(weight).u[:, :3]).abs().max() < 1e-5


def test_the_squared_sine_of_a_turned_space() -> None:
    some, others = torch.eye(4)[:, :2], torch.eye(4)[:, :2].clone()
    others[:, 1] = torch.tensor([0.0, 0.6, 0.8, 0.0])
    assert squared_sine(some, others) == pytest.approx((0 + 0.64) / 2)
