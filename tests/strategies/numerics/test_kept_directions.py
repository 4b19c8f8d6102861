"""KeepLoRA's rule for the kept directions, against the published one in numpy."""

import numpy as np
import pytest
import torch

from strategies.numerics.kept_directions import extended, principal


def published(basis: np.ndarray, inputs: np.ndarray, share: float) -> np.ndarray:
    """The rule as it is published: basis (d, m), inputs with a column for each token (d, N); returns (d, m + k)."""
    total = (inputs**2).sum()
    rest = inputs - basis @ basis.T @ inputs
    u, sigma, _ = np.linalg.svd(rest, full_matrices=False)
    held, count = (total - (rest**2).sum()) / total, 0
    while held < share and basis.shape[1] + count < len(inputs):
        held += sigma[count] ** 2 / total
        count += 1
    return np.hstack([basis, u[:, :count]])


def inputs(seed: int, count: int = 40, size: int = 12) -> np.ndarray:
    generator = np.random.default_rng(seed)
    turned = np.linalg.qr(generator.normal(size=(size, size)))[0]
    return turned @ np.diag(0.7 ** np.arange(size)) @ generator.normal(size=(size, count))


def test_the_basis_grows_by_the_published_rule_until_it_is_full() -> None:
    reference = np.linalg.qr(np.random.default_rng(9).normal(size=(12, 2)))[0]
    basis = torch.from_numpy(reference).float()
    sizes = []
    for task in range(12):
        x = inputs(task)
        reference = published(reference, x, 0.9)
        basis = extended(basis, torch.from_numpy(x @ x.T), 0.9)
        assert basis.dtype == torch.float32 and basis.shape == reference.shape
        np.testing.assert_allclose(basis.double() @ basis.double().T, reference @ reference.T, atol=1e-5)
        np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-6)
        sizes.append(basis.shape[1])
    assert sizes[0] > 2 and len(set(sizes)) > 3
    full = extended(basis, torch.diag(torch.arange(1.0, 13.0).double().square()), 0.9999)
    assert full.shape == (12, 12)  # no more than all
    assert torch.equal(extended(full, torch.eye(12).double(), 0.99), full)


def test_what_is_held_already_changes_no_bit() -> None:
    basis = torch.eye(6)[:, :2]
    held = torch.diag(torch.tensor([9.0, 4, 0.1, 0, 0, 0], dtype=torch.float64))
    assert torch.equal(extended(basis, held, 0.99), basis)
    assert torch.equal(extended(basis, 5 * held, 0.99), basis)  # nor does the scale matter
    assert extended(basis, held, 0.999).shape == (6, 3)


@pytest.mark.parametrize(
    ("s", "share", "count"),
    [([3, 2, 1], 0.85, 1), ([3, 2, 1], 0.95, 2), ([3, 2, 1], 0.2, 1), ([1, 1, 1, 1], 0.75, 2), ([1, 1, 1, 1], 0.8, 3)],
)  # 9, 13, 14 of 14: 0.64, 0.93, 1; of four equal ones: 0.25, 0.5, 0.75, 1
def test_the_principal_directions_stay_below_the_share(s: list[float], share: float, count: int) -> None:
    vectors = torch.eye(len(s) + 1)[:, : len(s)]
    assert torch.equal(principal(vectors, torch.tensor(s, dtype=torch.float32), share), vectors[:, :count])
