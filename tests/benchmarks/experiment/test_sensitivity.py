"""What is taken out of a weight and added to it, on matrices that are known; and that a model is afterwards what it was."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import api as nb
from benchmarks.experiment.backbones.loading import load_backbone
from benchmarks.experiment.model_test import ModelTest
from benchmarks.experiment.sensitivity import PAIRS, changed, removal, rows, update
from strategies.clip.weight_matrices import weight_matrices
from strategies.numerics.subspace import decompose
from tests.models import snapshot, tiny_model


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_what_is_removed() -> None:
    weight = torch.diag(torch.tensor([4.0, 3, 2, 1]))[:, :3]  # (4, 3), singular values 4, 3, 2
    found = decompose(weight)

    def left(r: int, where: Any) -> list[float]:
        return torch.linalg.svdvals(weight + removal(r, where, found, drawn())).round(decimals=4).tolist()

    assert left(1, "tail") == [4, 3, 0] and left(1, "top") == [3, 2, 0] and left(9, "tail") == [0, 0, 0]
    assert len([value for value in left(2, "random") if value]) == 1


@pytest.mark.parametrize(("left", "right"), [*PAIRS, ("tail", "random")])
def test_an_update_is_as_large_as_it_says_and_where_it_says(left: Any, right: Any) -> None:
    weight = torch.randn(12, 8, generator=drawn(1))
    found = decompose(weight)
    change = update(0.5, left, right, 3, found, drawn())
    assert change.norm() == pytest.approx(0.5 * weight.norm().item(), rel=1e-5)
    torch.testing.assert_close(change, update(0.5, left, right, 3, found, drawn()))
    inside = {"tail": slice(-3, None), "top": slice(0, 3)}
    if left in inside:
        assert (found.u[:, inside[left]].T @ change).norm() == pytest.approx(change.norm().item(), rel=1e-5)
    if right in inside:
        assert (change @ found.vh[inside[right]].T).norm() == pytest.approx(change.norm().item(), rel=1e-5)
    assert torch.linalg.matrix_rank(change, rtol=1e-4) == (8 if left == right == "any" else 3)


def test_weights_are_what_they_were() -> None:
    clip = tiny_model()
    before = snapshot(clip)
    matrices = weight_matrices(clip)
    with changed({matrix: torch.ones_like(matrix.weight()) for matrix in matrices}):
        assert all(
            torch.equal(matrix.weight() - 1, other.weight()) or not torch.equal(matrix.weight(), other.weight())
            for matrix, other in zip(matrices, weight_matrices(tiny_model()), strict=True)
        )
    assert all(torch.equal(tensor, before[name]) for name, tensor in snapshot(clip).items())


def test_each_row_is_the_accuracy_of_a_model_changed_so(images: Path, tiny_clip: Path) -> None:
    plan = nb.stream(f"folder:{images}")
    test = ModelTest(load_backbone(f"local-dir:{tiny_clip}", None), plan, "default", "cpu", None)
    found = list(rows(test, removed=[30], norms=[2.0], directions=4))
    assert [row[:5] for row in found] == [
        ("none", "", "", None, None),
        *(("removed", where, where, 30, None) for where in ("tail", "top", "random")),
        *(("updated", *pair, None if pair == ("any", "any") else 4, 2.0) for pair in PAIRS),
    ]
    for row in (found[0], found[1], found[4]):
        backbone = load_backbone(f"local-dir:{tiny_clip}", None)
        generator = drawn()
        for matrix in weight_matrices(backbone.clip):
            made = decompose(matrix.weight())
            with torch.no_grad():
                if row.change == "removed":
                    matrix.weight().add_(removal(30, "tail", made, generator))  # to the bit: logits may nearly tie
                elif row.change == "updated":
                    matrix.weight().add_(update(2.0, "tail", "tail", 4, made, generator))
        plain = nb.evaluate(backbone.clip, plan, tokenizer=backbone.tokenize, device="cpu")
        assert row.accuracy == pytest.approx(plain["task_aware"].mean())
