"""NuSA-CL on an approximate tail: the exact one where there is a gap, and where the approximation is none."""

import pytest
import torch

from strategies import nusa
from strategies.numerics.approximate_tail import squared_sine
from strategies.studies.approximate_tail import Plugin, Settings


@pytest.mark.parametrize("algorithm", ["complement", "inverse"])
def test_its_directions_are_nusas_where_the_spectrum_has_a_gap(algorithm: str, device: torch.device) -> None:
    torch.manual_seed(0)
    u, v = (torch.linalg.qr(torch.randn(20, 20)).Q for _ in range(2))
    weight = ((u * torch.cat([torch.ones(15), torch.full((5,), 0.01)])) @ v.T).to(device)
    exact = nusa.Plugin(nusa.Settings(rank=5)).make_update(weight)
    plugin = Plugin(Settings(rank=5, algorithm=algorithm))  # type: ignore[arg-type]
    found = plugin.make_update(weight)
    assert exact is not None and found is not None and found.scale == exact.scale and found.core is not None
    assert not found.core.any() and found.core.shape == (5, 5)
    assert squared_sine(found.up, exact.up) < 1e-4 and squared_sine(found.down.T, exact.down.T) < 1e-4
    assert plugin.decomposition_seconds > 0


@pytest.mark.parametrize(("shape", "rho"), [((20, 20), 0.99), ((12, 20), 0.5)])
def test_it_is_nusas_where_the_tail_holds_too_much_or_there_is_no_inverse(
    shape: tuple[int, int], rho: float, device: torch.device
) -> None:
    torch.manual_seed(0)
    weight = torch.randn(shape).to(device)
    exact = nusa.Plugin(nusa.Settings(rank=9, rho=rho)).make_update(weight)
    found = Plugin(Settings(rank=9, rho=rho)).make_update(weight)
    assert exact is not None and found is not None
    assert torch.equal(found.up, exact.up) and torch.equal(found.down, exact.down)


def test_a_weight_without_null_directions_has_no_update() -> None:
    assert Plugin(Settings(rank=4, rho=0.999)).make_update(torch.eye(8)) is None
