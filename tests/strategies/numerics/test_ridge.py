"""Ridge regression: the recursion against the batch solution, and the kernel against plain sums, in float64."""

import math

import pytest
import torch

from strategies.numerics.ridge import (
    INEXACT,
    kernel,
    kernel_coefficients,
    learn_batch,
    least_kernel_ridge,
    least_ridge,
    projection,
)


def samples(count: int, size: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs (count, size), all positive like random features behind a relu, and one-hot targets (count, classes)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, size, generator=generator).relu() + 0.3
    return x, torch.eye(classes)[torch.randint(classes, (count,), generator=generator)]


@pytest.mark.parametrize("batch", [1, 7, 300])
def test_the_recursion_is_the_batch_solution(batch: int, device: torch.device) -> None:
    x, y = samples(300, 60, 5)
    inverse, weights = torch.eye(60, device=device) / 0.1, torch.zeros(60, 5, device=device)
    for some, targets in zip(x.to(device).split(batch), y.to(device).split(batch), strict=True):
        learn_batch(inverse, weights, some, targets)
    gram = x.double().T @ x.double() + 0.1 * torch.eye(60, dtype=torch.float64)
    expected = torch.linalg.solve(gram, x.double().T @ y.double())
    assert torch.allclose(weights.cpu().double(), expected, atol=1e-4)
    assert torch.allclose(inverse.cpu().double(), torch.linalg.inv(gram), atol=1e-4)
    assert torch.linalg.inv(gram).abs().max() > 0.01 and torch.equal(inverse, inverse.T)
    assert expected.abs().max() > 0.1


@pytest.mark.parametrize("ridge", [1e-1, 1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-30])
def test_answers_are_the_exact_ones_or_refused(ridge: float) -> None:
    x, y = samples(400, 200, 5)
    inverse, weights = torch.eye(200) / ridge, torch.zeros(200, 5)
    if ridge < least_ridge(x):
        assert ridge <= 1e-3
        return
    for some, targets in zip(x.split(50), y.split(50), strict=True):
        learn_batch(inverse, weights, some, targets)
    gram = x.double().T @ x.double() + ridge * torch.eye(200, dtype=torch.float64)
    exact = x.double() @ torch.linalg.solve(gram, x.double().T @ y.double())
    assert ridge > 1e-7 and (x.double() @ weights.double() - exact).abs().max() < 2 * INEXACT


def test_a_kernels_ridge_below_rounding_is_refused() -> None:
    x, y = samples(30, 6, 3)
    least = least_kernel_ridge(30)
    assert 1e-20 < least < 1e-10
    same = kernel_coefficients(x[:1].repeat(30, 1), y, 0.1, least)  # K is all ones: the worst
    assert torch.allclose(same.sum(dim=0) * (30 + least), y.double().sum(dim=0), rtol=INEXACT)


def test_classes_that_come_later_have_been_no_targets_before() -> None:
    x, y = samples(200, 40, 4)
    inverse, weights = torch.eye(40) / 0.1, torch.zeros(40, 2)
    first = y[:, :2].sum(dim=1) > 0
    learn_batch(inverse, weights, x[first], y[first, :2])
    weights = torch.nn.functional.pad(weights, (0, 2))
    learn_batch(inverse, weights, x[~first], y[~first])
    gram = x.double().T @ x.double() + 0.1 * torch.eye(40, dtype=torch.float64)
    assert torch.allclose(weights.double(), torch.linalg.solve(gram, x.double().T @ y.double()), atol=1e-4)


def test_the_kernel_and_its_coefficients_are_the_formulas(device: torch.device) -> None:
    x, y = samples(30, 6, 3)
    rows = x.tolist()
    k = torch.tensor([[math.exp(-0.1 * math.dist(one, two) ** 2) for two in rows] for one in rows], dtype=torch.float64)
    assert torch.allclose(kernel(x.to(device), x.to(device), 0.1).cpu(), k, atol=1e-12)
    found = kernel_coefficients(x.to(device), y.to(device), 0.1, 0.001).cpu()
    expected = torch.linalg.inv(k + 0.001 * torch.eye(30, dtype=torch.float64)) @ y.double()
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_the_projection_is_that_of_a_linear_layer_and_its_seed_decides() -> None:
    drawn = projection(200, 16, 5)
    assert drawn.shape == (200, 16) and 0.24 < float(drawn.abs().max()) <= 0.25  # 1 / sqrt(16)
    assert torch.equal(drawn, projection(200, 16, 5)) and not torch.equal(drawn, projection(200, 16, 6))
