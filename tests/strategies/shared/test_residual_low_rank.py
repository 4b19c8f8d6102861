"""An update that starts from factors which are taken out of the weight."""

import torch

from strategies.shared.residual_low_rank import ResidualUpdate
from tests.models import applied


def test_it_starts_at_zero_and_only_up_learns() -> None:
    down, up = torch.randn(3, 6), torch.randn(5, 3)
    update = ResidualUpdate(down, up, scale=2.0, dropout=0.5).eval()
    assert {name for name, _ in update.named_parameters()} == {"up"}
    assert not update.delta().any() and not applied(update, torch.randn(4, 6)).any()  # not one bit
    assert update.up_0.data_ptr() != update.up.data_ptr()


def test_what_it_computes_and_its_gradient_are_the_formulas() -> None:
    torch.manual_seed(0)
    down, up, x = torch.randn(3, 6), torch.randn(5, 3), torch.randn(4, 6)
    update = ResidualUpdate(down, up, scale=2.0, dropout=0.0)
    with torch.no_grad():
        update.up.add_(torch.ones(5, 3))
    expected = 2 * torch.ones(5, 3) @ down
    assert torch.allclose(update.delta(), expected, atol=1e-5)
    out = applied(update, x)
    assert torch.allclose(out, x @ expected.T, atol=1e-4)
    out.sum().backward()
    assert update.up.grad is not None
    assert torch.allclose(update.up.grad, (2 * torch.ones(4, 5).T @ (x @ down.T)), atol=1e-4)
