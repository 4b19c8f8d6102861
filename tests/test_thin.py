"""The frozen layer with its low-rank updates against the plain formula, forward and backward."""

from typing import Any

import pytest
import torch
from torch import Tensor

from strategies.parts.parallel import Share
from strategies.parts.thin import Term, adapted_linear, keep


D_IN, ROWS, BLOCKS = 10, 6, 3  # of a weight (18, 10), as q, k and v one under another
RANK = 3


def leaf(*shape: int) -> Tensor:
    return torch.randn(shape).requires_grad_(True)


def plain(x: Tensor, weight: Tensor, bias: Tensor, terms: dict[int, list[Term]], masks: dict[int, Tensor]) -> Tensor:
    """y = x W^T + b, and on the columns of each block y += scale * (dropped x) down^T core^T up^T; all in float64."""
    columns = list((x @ weight.T + bias).chunk(BLOCKS, dim=-1))
    for block, each in terms.items():
        for term in each:
            seen = x * masks[block] / (1 - term.dropout) if term.dropout else x
            middle = seen @ term.down.T if term.core is None else seen @ term.down.T @ term.core.T
            columns[block] = columns[block] + term.scale * middle @ term.up.T
    return torch.cat(columns, dim=-1)


def learned(terms: dict[int, list[Term]]) -> list[Tensor]:
    """The factors that want a gradient."""
    factors = [factor for each in terms.values() for term in each for factor in (term.down, term.core, term.up)]
    return [factor for factor in factors if factor is not None and factor.requires_grad]


def make(block: int, rank: int, dropout: float, trained: str) -> list[Term]:
    """Terms of a block; the last block has a frozen one more, without dropout, as MiLoRA does."""
    down, up = leaf(rank, D_IN), leaf(ROWS, rank)
    core = None if trained == "down and up" else leaf(rank, rank)
    if trained == "core":
        down.requires_grad_(False)
        up.requires_grad_(False)
    more = [Term(torch.randn(rank, D_IN), None, torch.randn(ROWS, rank), -0.7, 0.0)] if block == BLOCKS - 1 else []
    return [Term(down, core, up, 0.7, dropout), *more]


@pytest.mark.parametrize("tokens", [2, 40])  # few: thin products; many and no dropout: W + dW
@pytest.mark.parametrize("dropout", [0.0, 0.25, 0.3])
@pytest.mark.parametrize("trained", ["core", "down and up", "all"])
# All of one rank are computed together; then k apart; then some blocks without any.
@pytest.mark.parametrize(
    "ranks", [{0: RANK, 1: RANK, 2: RANK}, {0: RANK, 1: 2, 2: RANK}, {0: RANK, 2: RANK}, {1: RANK}]
)
def test_forward_and_backward_are_the_plain_formulas(
    tokens: int, dropout: float, trained: str, ranks: dict[int, int]
) -> None:
    torch.manual_seed(0)
    x, weight, bias = leaf(2, tokens // 2, D_IN), torch.randn(ROWS * BLOCKS, D_IN), torch.randn(ROWS * BLOCKS)
    terms = {block: make(block, rank, dropout, trained) for block, rank in ranks.items()}

    torch.manual_seed(1)
    y = adapted_linear(x, weight, bias, terms)
    wanted = torch.randn_like(y)
    found = torch.autograd.grad((y * wanted).sum(), [x, *learned(terms)])

    torch.manual_seed(1)
    order = sorted(ranks, key=lambda block: (ranks[block] != RANK, block))  # masks are drawn for those together first
    masks: dict[int, Tensor] = {}
    if dropout:
        flat = x.flatten(0, 1)
        for rank in dict.fromkeys(ranks[block] for block in order):
            alike = [block for block in order if ranks[block] == rank]
            drawn = keep(flat, dropout, masks=len(alike))
            masks |= {block: mask.view_as(x).double() for block, mask in zip(alike, drawn, strict=True)}
    exact = {id(each): each.detach().double().requires_grad_(True) for each in [x, *learned(terms)]}

    def twin(factor: Tensor | None) -> Any:
        return None if factor is None else exact.get(id(factor), factor.double())

    twins = {
        block: [term._replace(down=twin(term.down), core=twin(term.core), up=twin(term.up)) for term in each]
        for block, each in terms.items()
    }
    reference = plain(exact[id(x)], weight.double(), bias.double(), twins, masks)
    gradients = torch.autograd.grad((reference * wanted.double()).sum(), list(exact.values()))
    # 0.3 is drawn as 19661 of 65536.
    near = 1e-5 if dropout != 0.3 else 1e-4
    torch.testing.assert_close(y.double(), reference, rtol=near, atol=near)
    for gradient, expected in zip(found, gradients, strict=True):
        torch.testing.assert_close(gradient.double(), expected, rtol=near, atol=near)


def test_without_updates_it_is_the_frozen_layer() -> None:
    x, weight, bias = leaf(4, D_IN), torch.randn(ROWS, D_IN), torch.randn(ROWS)
    assert torch.equal(adapted_linear(x, weight, bias, {}), torch.nn.functional.linear(x, weight, bias))


def test_the_frozen_weight_gets_no_gradient_and_a_trained_one_is_refused() -> None:
    weight = torch.randn(ROWS * BLOCKS, D_IN)
    core = leaf(RANK, RANK)
    terms = {0: [Term(torch.randn(RANK, D_IN), core, torch.randn(ROWS, RANK), 1.0, 0.0)]}
    adapted_linear(torch.randn(4, D_IN), weight, None, terms).sum().backward()
    assert core.grad is not None
    assert weight.grad is None
    with pytest.raises(AssertionError, match="frozen"):
        adapted_linear(torch.randn(4, D_IN), weight.requires_grad_(True), None, terms)


@pytest.mark.parametrize("dropout", [0.25, 0.1, 0.999999])
def test_masks_drop_the_share_asked_for(dropout: float) -> None:
    torch.manual_seed(2)
    x = torch.empty(1000, 1000)
    kept, wanted = keep(x, dropout).float().mean().item(), 1 - dropout
    assert abs(kept - wanted) < 5 * (wanted * dropout / x.numel()) ** 0.5 + 1 / 65536
    assert kept > 0


def test_processes_draw_the_rows_of_one_mask() -> None:
    def drawn(share: Share, rows: int) -> Tensor:
        torch.manual_seed(3)
        return keep(torch.empty(rows, 7), 0.25, share, masks=2)

    whole = drawn(Share(), 6)
    assert torch.equal(whole, torch.cat([drawn(Share(rank, 3), 2) for rank in range(3)], dim=1))
