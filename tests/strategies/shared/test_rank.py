"""A rank that a matrix does not have: cut, in every method with low-rank updates alike, and said."""

import importlib
import math
from typing import Any

import pytest
import torch

from strategies.shared.low_rank import LowRankPlugin
from tests.models import snapshot, tiny_classifier, tiny_experiences, tiny_template


WIDTHS = (32, 24)  # of the tiny CLIP's image and text tower
METHODS: list[tuple[str, dict[str, Any]]] = [
    ("lora", {}), ("nusa", {}), ("nusa", {"directions": "top", "trained": "M+U+V"}), ("olora", {}), ("inflora", {}),
    ("activation_null", {"variant": "lora-null"}),
    ("activation_null", {"variant": "cells", "right": "activation", "left": "gradient"}),
    ("keeplora", {"side": "input", "tau": 0.5}), ("milora", {"variant": "original"}), ("milora", {"variant": "released"}),
    ("oplora", {}), ("nusa_self", {}), ("nusa_self", {"space": "complement"}),
]  # fmt: skip


def plugin_of(name: str, **settings: Any) -> LowRankPlugin:
    module = importlib.import_module(f"strategies.{name}")
    plugin: LowRankPlugin = module.Plugin(module.Settings(**settings))
    return plugin


def trained(name: str, **settings: Any) -> tuple[dict[str, torch.Tensor], list[list[str]]]:
    """The model and the state after two tasks, and the notes of each task."""
    plugin, classifier = plugin_of(name, **settings), tiny_classifier()
    plugin.begin(classifier)
    template, notes = tiny_template(classifier, [plugin]), []
    for experience in tiny_experiences():
        template.train(experience)
        notes.append(list(plugin.notes))
    return {**snapshot(classifier.clip), **{f"state.{key}": value for key, value in plugin.state_dict().items()}}, notes


@pytest.mark.parametrize(("name", "settings"), METHODS)
@pytest.mark.parametrize("matrices", [("q", "k", "v", "o"), ("fc", "proj")])
def test_a_rank_beyond_the_width_is_the_width_bit_for_bit(
    name: str, settings: dict[str, Any], matrices: tuple[str, ...]
) -> None:
    own, _ = trained(name, rank=max(WIDTHS), matrices=matrices, **settings)
    more, notes = trained(name, rank=10_000, matrices=matrices, **settings)
    assert own.keys() == more.keys() and all(torch.equal(own[key], more[key]) for key in own)
    (cut,) = [note for note in notes[0] if note.startswith("rank 10000 is cut ")]  # one line for all matrices
    assert f"{len(matrices) * 3} matrices" in cut
    assert not [note for note in notes[1] if note == cut]  # nor is it said again


@pytest.mark.parametrize(("name", "settings"), METHODS)
def test_the_scale_is_of_the_matrixs_own_rank(name: str, settings: dict[str, Any]) -> None:
    plugin, classifier = plugin_of(name, rank=10_000, alpha=3.0, **settings), tiny_classifier()
    plugin.begin(classifier)
    plugin.before_train_dataset_adaptation(prepared(classifier, plugin))
    scales = {(matrix.tower, update.scale) for matrix, update in plugin.updates.items()}
    assert scales == {("image", 3 / math.sqrt(32)), ("text", 3 / math.sqrt(24))}


def prepared(classifier: Any, plugin: LowRankPlugin) -> Any:
    template = tiny_template(classifier, [plugin])
    template.experience = tiny_experiences()[0]
    return template


@pytest.mark.parametrize(("name", "settings"), METHODS)
def test_a_rank_that_all_matrices_have_is_not_cut(name: str, settings: dict[str, Any]) -> None:
    assert trained(name, rank=2, **settings)[1] == [[], []]


def test_fewer_null_directions_are_named_as_such() -> None:
    _, notes = trained("nusa", rank=24, rho=0.9)
    (cut,) = notes[0]
    assert cut.startswith("rank 24 is cut to ") and cut.endswith(
        "in 12 of 12 matrices, which have no more null directions"
    )


def test_o_lora_says_once_when_no_direction_is_left() -> None:
    _, notes = trained("olora", rank=13)
    assert not notes[0] and "add up to more than their inputs have dimensions" in notes[1][0]
    assert notes[1][0].startswith("4 of 12 matrices: ")  # 26 of 24 in the text tower alone
