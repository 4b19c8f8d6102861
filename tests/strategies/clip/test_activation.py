"""The fused QuickGELU against its formula, forward and backward."""

import open_clip
import torch
from open_clip.transformer import QuickGELU

from strategies.clip.activation import FusedQuickGELU, fuse
from tests.conftest import TINY


def test_it_is_the_formula_forward_and_backward(device: torch.device) -> None:
    x = torch.linspace(-8, 8, 1001, dtype=torch.float64, device=device)[None].requires_grad_(True)
    weights = torch.randn(1, 1001, dtype=torch.float64).to(device)
    found, expected = FusedQuickGELU()(x), x * torch.sigmoid(1.702 * x)
    assert (found - expected).abs().max() < 1e-14
    (gradient,) = torch.autograd.grad((found * weights).sum(), x)
    (wanted,) = torch.autograd.grad((expected * weights).sum(), x)
    assert (gradient - wanted).abs().max() < 1e-13


def test_a_model_with_it_computes_the_same_and_one_without_keeps_its_own(device: torch.device) -> None:
    tokens = torch.tensor([[1, 5, 49407, *[0] * 13]], device=device)
    for quick in (True, False):
        torch.manual_seed(0)
        clip = open_clip.CLIP(**TINY, quick_gelu=quick).double().to(device)
        before, names = clip.encode_text(tokens), clip.state_dict().keys()
        fuse(clip)
        assert (clip.encode_text(tokens) - before).abs().max() < 1e-12
        assert clip.state_dict().keys() == names
        assert any(isinstance(module, FusedQuickGELU) for module in clip.modules()) == quick
        assert not any(isinstance(module, QuickGELU) for module in clip.modules())
