"""Accuracies with the task known and unknown against a plain count."""

import pytest
import torch

from benchmarks.evaluate import EvaluationSet, evaluate, name_ids


NAMES = [("zero", "one"), ("red", "zero", "blue")]


class Fixed:
    """A classifier that gives each image the logits written in its first pixels."""

    def eval(self) -> None: ...

    def union_logits(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0, 0, :5].float()


def as_images(logits: list[list[int]]) -> torch.Tensor:
    images = torch.zeros(len(logits), 3, 1, 5, dtype=torch.uint8)
    images[:, 0, 0] = torch.tensor(logits, dtype=torch.uint8)
    return images


def test_equal_names_are_one_class() -> None:
    assert name_ids(NAMES).tolist() == [0, 1, 2, 0, 3]


def test_accuracies() -> None:
    #                    zero one | red zero blue
    first = as_images([[9, 1, 0, 0, 0], [9, 1, 0, 10, 0], [9, 1, 10, 0, 0], [9, 10, 0, 0, 11]])
    second = as_images([[9, 0, 1, 5, 0], [0, 0, 1, 5, 9]])
    tests = [EvaluationSet(first, torch.tensor([0, 0, 0, 1])), EvaluationSet(second, torch.tensor([1, 1]))]
    done: list[int] = []
    found = evaluate(Fixed(), tests, NAMES, torch.device("cpu"), done.append)  # type: ignore[arg-type]
    # first: all four right among its own; over all classes "zero" of the other task counts, red and blue do not.
    # second: the first image wins with the other task's "zero", which is its class; blue beats the second one's.
    assert found.known == pytest.approx([100, 50])
    assert found.unknown == pytest.approx([50, 50])
    assert sum(done) == 6
