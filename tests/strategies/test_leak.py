"""The leak of every method that promises a subspace: the share of a task's update that lies where it must not be.

    leak = || P_forbidden dW || / || dW ||  (Frobenius norms), on the output side, on the input side, or both

It is 0 up to rounding where the update is a product with frozen bases, or is projected, whatever AdamW does; a basis that
learns too leaks. The second task is measured, so that methods which remember the first one have something to avoid. What is
forbidden is known at its first step, before a weight has changed: by the method's definition, or, where a basis is drawn or
comes from a pass of the task's own images, as all that its frozen factor does not span. Whether that is the right basis is
asked in the method's own tests.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

from strategies.clip.weight_matrices import WeightMatrix, weight_matrices
from strategies.numerics.gram import directions
from strategies.numerics.subspace import energy_rank
from strategies.shared.input_covariance import block_name
from strategies.shared.watched import input_name
from tests.models import tiny_classifier, tiny_experiences, tiny_template


Sides = tuple[Tensor | None, Tensor | None]  # forbidden directions of outputs (d_out, a) and of inputs (d_in, b)


def outside(basis: Tensor) -> Tensor:
    """An orthonormal basis (d, d - r) of all that is orthogonal to the columns (d, r)."""
    return torch.linalg.qr(basis.detach().double(), mode="complete").Q[:, basis.shape[1] :]


def principal(plugin: Any, matrix: WeightMatrix, weight: Tensor) -> Sides:
    u, s, vh = torch.linalg.svd(weight.double(), full_matrices=False)
    k = energy_rank(s, plugin.rho)
    return u[:, :k], vh[:k].T


def outputs_alone(plugin: Any, matrix: WeightMatrix, weight: Tensor) -> Sides:
    return principal(plugin, matrix, weight)[0], None


def kept(plugin: Any, matrix: WeightMatrix, weight: Tensor) -> Sides:
    return None, plugin.bases[matrix.name]


def remembered(plugin: Any, matrix: WeightMatrix, weight: Tensor) -> Sides:
    memory = plugin.memory[block_name(matrix.tower, matrix.block)]
    return None, outside(memory.complement(weight.device)) if matrix.matrix in ("k", "v") else None


def seen(plugin: Any, matrix: WeightMatrix, weight: Tensor) -> Sides:
    values, vectors = directions(plugin.grams[input_name(matrix)])
    sizes = values.sqrt()
    return None, vectors[:, sizes > plugin.settings.eps * sizes.sum()]


def unspanned(plugin: Any, matrix: WeightMatrix, weight: Tensor) -> Sides:
    update = plugin.updates[matrix]
    return outside(update.up), outside(update.down.T)


def unspanned_inputs(plugin: Any, matrix: WeightMatrix, weight: Tensor) -> Sides:
    return None, unspanned(plugin, matrix, weight)[1]


def of_cell(plugin: Any, matrix: WeightMatrix, weight: Tensor) -> Sides:
    left, right = unspanned(plugin, matrix, weight)
    u, v = principal(plugin, matrix, weight)
    return u if plugin.settings.left == "weight" else left, v if plugin.settings.right == "weight" else right


def other_deciles(plugin: Any, matrix: WeightMatrix, weight: Tensor) -> Sides:
    u, s, vh = torch.linalg.svd(weight.double(), full_matrices=False)
    own = slice(len(s) * (plugin.settings.decile - 1) // 10, len(s) * plugin.settings.decile // 10)
    return outside(u[:, own]), outside(vh[own].T)


EXACT: list[tuple[str, dict[str, Any], Callable[..., Sides]]] = [
    ("nusa", {"rank": 4}, principal),
    ("nusa", {"rank": 4, "rho": 0.7}, principal),
    ("nusa", {"rank": 4, "trained": "M+V"}, outputs_alone),
    ("oplora", {"rank": 4}, principal),
    ("nusa_self", {"rank": 4, "space": "tail"}, principal),
    ("nusa_self", {"rank": 4, "space": "complement"}, principal),
    ("keeplora", {"rank": 4, "side": "input", "tau": 0.7}, kept),
    ("keeplora", {"rank": 4, "variant": "++", "tau": 0.7, "features": "gram"}, kept),
    ("inflora", {"rank": 4}, remembered),
    ("activation_null", {"variant": "ness", "eps": 0.05}, seen),
    ("activation_null", {"rank": 4}, unspanned_inputs),
    *(
        ("activation_null", {"variant": "cells", "rank": 4, "right": right, "left": left}, of_cell)
        for right in ("weight", "activation", "random")
        for left in ("weight", "gradient", "random")
    ),
    ("studies.approximate_tail", {"rank": 4}, unspanned),
    ("studies.position", {"rank": 2, "decile": 4}, other_deciles),
]
# These begin in the tail, or in no subspace at all, and leave it; at least so much of the update is outside.
LEAKS: list[tuple[str, dict[str, Any], Callable[..., Sides], float]] = [
    ("nusa", {"rank": 4, "trained": "M+V"}, principal, 0.05),
    ("nusa", {"rank": 4, "trained": "M+U+V"}, principal, 0.05),
    ("nusa_self", {"rank": 4, "space": "soft"}, principal, 0.05),
    ("milora", {"rank": 4}, principal, 0.05),
    ("lora", {"rank": 4}, principal, 0.5),
]


def leaks(name: str, settings: dict[str, Any], forbidden: Callable[..., Sides]) -> list[float]:
    """The larger of both sides' leaks of the second task's update, less what merging rounds, for each changed matrix."""
    module = import_module(f"strategies.{name}")
    classifier, plugin = tiny_classifier(), module.Plugin(module.Settings(**settings))
    plugin.begin(classifier)
    template = tiny_template(classifier, [plugin], iterations=12, lr=0.05, weight_decay=0.1)
    template.train(tiny_experiences()[0])
    before = {matrix: matrix.weight().detach().clone() for matrix in weight_matrices(classifier.clip)}
    sides: dict[WeightMatrix, Sides] = {}

    def note() -> None:
        if not sides:
            sides.update({matrix: forbidden(plugin, matrix, weight) for matrix, weight in before.items()})

    template.on_step_begin = note
    template.train(tiny_experiences()[1])
    found = []
    for matrix, weight in before.items():
        delta = matrix.weight().detach().double() - weight.double()
        left, right = sides[matrix]
        parts = [(left.double().T @ delta).norm()] if left is not None else []
        parts += [(delta @ right.double()).norm()] if right is not None else []
        rounding = torch.finfo(torch.float32).eps * weight.norm()  # merging rounds W + dW
        if parts and delta.norm() > 1e-3:
            found.append(float((max(parts) - rounding) / delta.norm()))
    assert found
    return found


@pytest.mark.parametrize(("name", "settings", "forbidden"), EXACT)
def test_what_promises_a_subspace_keeps_to_it(name: str, settings: dict[str, Any], forbidden: Any) -> None:
    assert max(leaks(name, settings, forbidden)) < 1e-4  # float32: of OPLoRA's factors most is projected away


@pytest.mark.parametrize(("name", "settings", "forbidden", "least"), LEAKS)
def test_what_only_starts_in_it_leaves_it(name: str, settings: dict[str, Any], forbidden: Any, least: float) -> None:
    found = leaks(name, settings, forbidden)
    assert sum(found) / len(found) > least
