"""The Gram matrix of rows and its directions, against float64."""

import pytest
import torch

from strategies.numerics.gram import directions, gram


def test_the_gram_matrix_is_that_of_the_rows_whatever_precision_is_around_it(device: torch.device) -> None:
    rows = torch.randn(50, 6, device=device, requires_grad=True)
    with torch.autocast(device.type, torch.bfloat16):
        found = gram(rows)
    assert found.dtype == torch.float64 and not found.requires_grad
    assert torch.allclose(found, rows.detach().double().T @ rows.detach().double(), rtol=1e-5, atol=1e-4)
    assert gram(rows.bfloat16()).dtype == torch.float64


def test_directions_rise_are_orthonormal_and_have_no_negative_value(device: torch.device) -> None:
    rows = torch.randn(3, 8, device=device)  # 5 directions have none of it
    values, vectors = directions(gram(rows))
    assert (values[:5] < 1e-5).all() and (values >= 0).all() and (values.diff() >= 0).all()
    assert torch.allclose(vectors.T @ vectors, torch.eye(8, device=device).double(), atol=1e-12)
    assert (rows.double() @ vectors[:, :5]).abs().max() < 1e-5
    assert not directions(torch.diag(torch.tensor([-1e-9, 0, 4])))[0][0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_directions_of_a_stored_matrix_are_float64(dtype: torch.dtype) -> None:
    values, vectors = directions(torch.eye(3, dtype=dtype))
    assert values.dtype == vectors.dtype == torch.float64
