"""The frozen layer with its low-rank updates against the plain formula, forward and backward."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from strategies.numerics.data_parallel import Share
from strategies.shared import fused_low_rank
from strategies.shared.fused_low_rank import Factors, Part, adapted_linear, keep, pack, unpack


D_IN, D_OUT, RANK = 10, 18, 3
ROWS = (slice(0, 6), slice(6, 12), slice(12, 18))


@pytest.fixture(autouse=True)
def packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mask here is kept as bits, however small."""
    monkeypatch.setattr(fused_low_rank, "SMALL", 0)


def leaf(device: torch.device, *shape: int) -> Tensor:
    return torch.randn(shape, device=device).requires_grad_(True)


def plain(
    x: Tensor, weight: Tensor, bias: Tensor, terms: list[tuple[Part, Factors]], masks: list[Tensor | None]
) -> Tensor:
    """y = x W^T + b, and on the rows of each part y += scale * (dropped x) down^T core^T up^T; all in float64."""
    y = x @ weight.T + bias
    columns = [y[..., rows] for rows in ROWS]
    for (part, (down, core, up)), mask in zip(terms, masks, strict=True):
        dropped = round(part.dropout * 65536) / 65536  # as it is drawn
        seen = x if mask is None else x * mask / (1 - dropped)
        middle = seen @ down.T if core is None else seen @ down.T @ core.T
        place = ROWS.index(part.rows)
        columns[place] = columns[place] + part.scale * middle @ up.T
    return torch.cat(columns, dim=-1)


@pytest.mark.parametrize("tokens", [2, 40])  # few: thin products; many and no dropout: W + dW
@pytest.mark.parametrize("dropout", [0.0, 0.25, 0.3])
@pytest.mark.parametrize("trained", ["core", "down and up", "all"])
def test_forward_and_backward_are_the_plain_formulas(
    tokens: int, dropout: float, trained: str, device: torch.device
) -> None:
    torch.manual_seed(0)
    x = leaf(device, 2, tokens // 2, D_IN)
    weight, bias = torch.randn(D_OUT, D_IN, device=device), torch.randn(D_OUT, device=device)
    terms: list[tuple[Part, Factors]] = []
    for rows in ROWS[:2]:
        down, up = leaf(device, RANK, D_IN), leaf(device, 6, RANK)
        core = None if trained == "down and up" else leaf(device, RANK, RANK)
        if trained == "core":
            down.requires_grad_(False)
            up.requires_grad_(False)
        terms.append((Part(rows, 0.7, dropout), (down, core, up)))
    learned = [factor for _, factors in terms for factor in factors if factor is not None and factor.requires_grad]

    torch.manual_seed(1)
    y = adapted_linear(x, weight, bias, terms)
    wanted = torch.randn_like(y)
    found = torch.autograd.grad((y * wanted).sum(), [x, *learned])

    torch.manual_seed(1)
    masks = [keep(x.flatten(0, 1), dropout).view_as(x).double() if dropout else None for _ in terms]
    exact = {id(each): each.detach().double().requires_grad_(True) for each in [x, *learned]}
    twins: list[tuple[Part, Factors]] = [
        (part, tuple(f if f is None else exact.get(id(f), f.double()) for f in factors))  # type: ignore[misc]
        for part, factors in terms
    ]
    reference = plain(exact[id(x)], weight.double(), bias.double(), twins, masks)
    gradients = torch.autograd.grad((reference * wanted.double()).sum(), list(exact.values()))
    torch.testing.assert_close(y.double(), reference, rtol=1e-5, atol=1e-5)
    for gradient, expected in zip(found, gradients, strict=True):
        torch.testing.assert_close(gradient.double(), expected, rtol=1e-5, atol=1e-5)


def test_the_frozen_weight_gets_no_gradient_and_a_trained_one_is_refused(device: torch.device) -> None:
    weight = torch.randn(D_OUT, D_IN, device=device)
    core = leaf(device, RANK, RANK)
    terms: list[tuple[Part, Factors]] = [
        (Part(ROWS[0], 1.0, 0.0), (torch.randn(RANK, D_IN, device=device), core, torch.randn(6, RANK, device=device)))
    ]
    adapted_linear(torch.randn(4, D_IN, device=device), weight, None, terms).sum().backward()
    assert core.grad is not None
    assert weight.grad is None
    with pytest.raises(AssertionError, match="frozen"):
        adapted_linear(torch.randn(4, D_IN, device=device), weight.requires_grad_(True), None, terms)


class Shapes(TorchDispatchMode):
    """Of all tensors that are made while it is on, views included."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.found |= {tuple(each.shape) for each in (out if isinstance(out, (tuple, list)) else (out,))}
        return out


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_nothing_of_an_updates_size_is_formed(dropout: float, device: torch.device) -> None:
    x, weight = leaf(device, 4, D_IN), torch.randn(D_OUT, D_IN, device=device)
    factors = leaf(device, RANK, D_IN), leaf(device, RANK, RANK), leaf(device, 6, RANK)
    with Shapes() as made:
        adapted_linear(x, weight, None, [(Part(ROWS[0], 0.7, dropout), factors)]).sum().backward()
    assert {(4, D_OUT), (4, RANK), (6, RANK), (RANK, D_IN)} <= made.found
    assert not {(6, D_IN), (D_IN, 6), (D_OUT, D_IN)} & made.found  # the weight itself is only turned


@pytest.mark.parametrize("dropout", [0.5, 0.25, 0.125, 0.1, 0.999999])
def test_masks_drop_the_share_asked_for(dropout: float, device: torch.device) -> None:
    torch.manual_seed(2)
    x = torch.empty(1000, 1000, device=device)
    kept, wanted = keep(x, dropout).float().mean().item(), 1 - dropout
    assert abs(kept - wanted) < 5 * (wanted * dropout / x.numel()) ** 0.5 + 1 / 65536
    assert kept > 0


@pytest.mark.parametrize("dropout", [0.5, 0.25, 0.125])  # 1, 2 and 4 bits of a byte for each figure
def test_figures_drawn_from_one_byte_are_independent(dropout: float, device: torch.device) -> None:
    torch.manual_seed(4)
    parts = keep(
        torch.empty(8, 100_000, device=device), dropout
    ).float()  # whatever the bits, no two rows share a figure
    assert parts.mean(dim=1).sub(1 - dropout).abs().max() < 0.01
    assert (torch.corrcoef(parts) - torch.eye(8, device=device)).abs().max() < 0.02


def test_processes_draw_the_rows_of_one_mask(device: torch.device) -> None:
    def drawn(share: Share, rows: int) -> Tensor:
        torch.manual_seed(3)
        return keep(torch.empty(rows, 7, device=device), 0.25, share)

    whole = drawn(Share(), 6)
    assert torch.equal(whole, torch.cat([drawn(Share(rank, 3), 2) for rank in range(3)]))


@pytest.mark.parametrize("shape", [(8, 16), (3, 7), (1, 65), (40, 64)])  # with values for whole int64s, and others
def test_a_packed_mask_takes_a_bit_for_each_value(shape: tuple[int, int], device: torch.device) -> None:
    torch.manual_seed(5)
    mask = keep(torch.empty(shape, device=device), 0.25)
    bits = pack(mask)
    assert bits.nbytes <= mask.nbytes / 8 + 8
    assert torch.equal(unpack(bits, mask.shape), mask)
    assert torch.equal(unpack(pack(torch.ones_like(mask)), mask.shape), torch.ones_like(mask))


def test_a_small_mask_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_low_rank, "SMALL", 21)
    mask = keep(torch.empty(3, 7), 0.25)
    assert pack(mask) is mask and torch.equal(unpack(mask, mask.shape), mask)


@pytest.mark.parametrize("tokens", [2, 40])
def test_without_updates_it_is_the_frozen_layer(tokens: int, device: torch.device) -> None:
    x, weight, bias = (
        leaf(device, tokens, D_IN),
        torch.randn(D_OUT, D_IN, device=device),
        torch.randn(D_OUT, device=device),
    )
    y = adapted_linear(x, weight, bias, [])
    assert torch.equal(y, torch.nn.functional.linear(x, weight, bias))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, weight.sum(dim=0).expand_as(x))
