"""Ranks and directions against plain float64 references."""

import math

import numpy as np
import pytest
import torch

from strategies.numerics.subspace import Decompositions, choose, decompose, energy_rank, entropy_rank


def plain_energy_rank(singular: list[float], rho: float) -> int:
    total, reached = math.fsum(s * s for s in singular), []
    for k, s in enumerate(singular, start=1):
        reached.append(s * s)
        if math.fsum(reached) >= rho * total:
            return k
    return len(singular)


@pytest.mark.parametrize("rho", [0.05, 0.5, 0.95, 0.999])
@pytest.mark.parametrize("shape", [(6, 6), (5, 9), (9, 5), (1, 4)])
def test_energy_rank_is_the_least_count_that_reaches_rho(
    shape: tuple[int, int], rho: float, device: torch.device
) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    singular = np.linalg.svd(weight.double().numpy(), compute_uv=False).tolist()
    assert energy_rank(decompose(weight.to(device)).s, rho) == plain_energy_rank(singular, rho)


def test_energy_rank_at_an_exact_boundary_and_of_one_direction(device: torch.device) -> None:
    assert energy_rank(torch.ones(4, device=device), 0.5) == 2  # half of the energy is reached, not passed
    assert energy_rank(torch.tensor([3.0, 0.0, 0.0], device=device), 0.999) == 1


def test_entropy_rank_counts_equal_directions_and_agrees_with_the_formula(device: torch.device) -> None:
    assert entropy_rank(torch.tensor([2.0, 2.0, 2.0, 0.0], device=device)) == pytest.approx(3)
    singular = [4.0, 2.0, 1.0, 0.5]
    share = [s / sum(singular) for s in singular]
    expected = math.exp(-sum(p * math.log(p) for p in share))
    assert entropy_rank(torch.tensor(singular, device=device)) == pytest.approx(expected)


@pytest.mark.parametrize("directions", ["tail", "top", "random"])
def test_chosen_directions_are_orthonormal_singular_directions(directions: str, device: torch.device) -> None:
    torch.manual_seed(3)
    weight = torch.randn(12, 10).to(device)
    decomposition = decompose(weight)
    u, vh = choose(decomposition, 4, directions)  # type: ignore[arg-type]
    assert (u.T @ u - torch.eye(4, device=device)).abs().max() < 1e-5
    assert (vh @ vh.T - torch.eye(4, device=device)).abs().max() < 1e-5
    core = u.T @ weight @ vh.T  # diagonal: u and v belong to the same singular values
    assert (core - core.diagonal().diag()).abs().max() < 1e-5
    expected = {"tail": decomposition.s[-4:], "top": decomposition.s[:4]}.get(directions)
    if expected is not None:
        assert torch.allclose(core.diagonal(), expected, atol=1e-5)


def test_the_null_space_is_orthogonal_to_the_principal_space(device: torch.device) -> None:
    torch.manual_seed(4)
    decomposition = decompose(torch.randn(16, 16).to(device))
    k = energy_rank(decomposition.s, 0.9)
    u, vh = choose(decomposition, 16 - k, "tail")
    assert (decomposition.u[:, :k].T @ u).abs().max() < 1e-5
    assert (decomposition.vh[:k] @ vh.T).abs().max() < 1e-5


def test_a_weight_is_decomposed_again_only_when_it_has_changed(device: torch.device) -> None:
    torch.manual_seed(4)
    weight, decompositions = torch.randn(6, 5).to(device), Decompositions(keep=True)
    first, ready = decompositions.of(weight)
    assert not ready
    assert decompositions.of(weight) == (first, True)
    weight[2, 3] += 1.0
    second, ready = decompositions.of(weight)
    assert not ready
    u, s, vh = second.decomposition
    assert torch.allclose(u * s @ vh, weight.cpu(), atol=1e-5)
    assert torch.equal(first.weight[2, 3] + 1.0, weight[2, 3].cpu())  # a copy, which did not change with it
    alone = Decompositions(keep=False)
    assert not alone.of(weight)[1] and not alone.of(weight)[1]
