"""Accuracies with the task known and unknown against a plain count."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import pytest
import torch

from benchmarks.config.errors import Diverged
from benchmarks.experiment.evaluation import BATCH, EvaluationSet, evaluate, evaluate_states, name_ids
from strategies.clip.classifier import ClipClassifier
from tests.models import TEMPLATES, tiny_classifier, tiny_experiences, tiny_images, tiny_template


NAMES = [("zero", "one"), ("red", "zero", "blue")]


class Fixed:
    """A classifier that gives each image the logits written in its first pixels."""

    def eval(self) -> None: ...

    def __init__(self, names: Sequence[Sequence[str]] = NAMES) -> None:
        self.ends = [0, *accumulate(map(len, names))]

    def scored(self, images: torch.Tensor) -> Callable[[range], torch.Tensor]:
        return lambda tasks: images[:, 0, 0, self.ends[tasks.start] : self.ends[tasks.stop]].float()


def as_images(logits: list[list[int]]) -> torch.Tensor:
    images = torch.zeros(len(logits), 3, 1, 5, dtype=torch.uint8)
    images[:, 0, 0] = torch.tensor(logits, dtype=torch.uint8)
    return images


def test_equal_names_are_one_class() -> None:
    assert name_ids(NAMES).tolist() == [0, 1, 2, 0, 3]


def test_accuracies(device: torch.device) -> None:
    #                    zero one | red zero blue
    first = as_images([[9, 1, 0, 0, 0], [9, 1, 0, 10, 0], [9, 1, 10, 0, 0], [9, 10, 0, 0, 11]])
    second = as_images([[9, 0, 1, 5, 0], [0, 0, 1, 5, 9]])
    tests = [EvaluationSet(first, torch.tensor([0, 0, 0, 1])), EvaluationSet(second, torch.tensor([1, 1]))]
    done: list[int] = []
    found = evaluate(Fixed(), tests, NAMES, device, on_images=done.append)  # type: ignore[arg-type]
    # first: all four right among its own; over all classes "zero" of the other task counts, red and blue do not.
    # second: the first image wins with the other task's "zero", which is its class; blue beats the second one's.
    assert found.known == pytest.approx([100, 50])
    assert found.unknown == pytest.approx([50, 50])
    assert found.seen == [None, None]
    assert sum(done) == 6


def test_among_the_classes_seen_so_far(device: torch.device) -> None:
    first = as_images([[9, 1, 0, 0, 0], [9, 1, 0, 10, 0], [9, 1, 10, 0, 0], [9, 10, 0, 0, 11]])
    second = as_images([[9, 0, 1, 5, 0], [0, 0, 1, 5, 9]])
    tests = [EvaluationSet(first, torch.tensor([0, 0, 0, 1])), EvaluationSet(second, torch.tensor([1, 1]))]
    one = evaluate(Fixed(), tests, NAMES, device, 1)  # type: ignore[arg-type]
    assert one.seen == [100, None]  # after the first task its own two classes compete
    both = evaluate(Fixed(), tests, NAMES, device, 2)  # type: ignore[arg-type]
    assert both.seen == both.unknown


def test_a_test_set_that_comes_again_is_read_once(device: torch.device) -> None:
    reads: list[object] = []

    class Counted:
        images = as_images([[9, 1, 0, 0, 0], [0, 1, 0, 0, 0]])

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, places: slice) -> torch.Tensor:
            reads.append(places)
            return self.images[places]

    counted = EvaluationSet(Counted(), torch.tensor([0, 0]))
    names = [("zero", "one"), ("red",), ("zero", "one")]
    tests = [counted, EvaluationSet(Counted(), torch.tensor([0, 0])), counted]
    found = evaluate(Fixed(names), tests, names, device, 2)  # type: ignore[arg-type]
    assert len(reads) == 2
    assert found.known[0] == found.known[2] == 50 and found.seen == [50, 0, None]


def test_every_prompt_and_every_image_is_encoded_once_for_each_state() -> None:
    tiny = tiny_classifier()
    prompts = [tiny.tokens(task).clone() for task in (0, 1, 0)]
    classifier = ClipClassifier(tiny.clip, prompts, (0.5,) * 3, (0.5,) * 3)
    names = [("zero", "one"), ("red", "green", "blue"), ("zero", "one")]
    # More than a batch, and other images where the prompts come again.
    sets = [tiny_images(2, BATCH + 1), tiny_images(3, seed=1), tiny_images(2, seed=2)]
    tests = [EvaluationSet(each.images, torch.tensor(each.targets)) for each in sets]
    encoded: list[int] = []  # how many prompts each time
    classifier.clip.transformer.register_forward_pre_hook(lambda _, inputs: encoded.append(len(inputs[0])))
    seen: list[int] = []  # how many images each time
    classifier.clip.visual.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    evaluate(classifier, tests, names, torch.device("cpu"))
    assert encoded == [2] * TEMPLATES + [3] * TEMPLATES
    assert sum(seen) == sum(map(len, sets))
    tiny_template(classifier, []).train(tiny_experiences()[0])
    encoded.clear()
    seen.clear()
    evaluate(classifier, tests, names, torch.device("cpu"), 1)
    assert encoded == [2] * TEMPLATES + [3] * TEMPLATES
    assert sum(seen) == sum(map(len, sets))


def test_scores_that_are_no_numbers_have_no_accuracy() -> None:
    class Broken(Fixed):
        def scored(self, images: torch.Tensor) -> Any:
            scores = super().scored(images)
            return lambda tasks: torch.where(scores(tasks) > 10, torch.nan, scores(tasks))

    images = as_images([[9, 1, 0, 0, 0], [9, 1, 0, 11, 0], [12, 1, 10, 0, 0]])
    tests = [EvaluationSet(images[:1], torch.tensor([0])), EvaluationSet(images, torch.tensor([0, 0, 1]))]
    with pytest.raises(Diverged, match=r"^state 2: the scores of 2 test images of task 2 are not numbers"):
        evaluate(Broken(), tests, NAMES, torch.device("cpu"), 2)  # type: ignore[arg-type]


def test_all_states_of_a_model_that_stays_from_one_pass(device: torch.device) -> None:
    first = as_images([[9, 1, 0, 0, 0], [9, 1, 0, 10, 0], [9, 1, 10, 0, 0], [9, 10, 0, 0, 11]])
    second = as_images([[9, 0, 1, 5, 0], [0, 0, 1, 5, 9]])
    tests = [EvaluationSet(first, torch.tensor([0, 0, 0, 1])), EvaluationSet(second, torch.tensor([1, 1]))]
    done: list[int] = []
    found = evaluate_states(Fixed(), tests, NAMES, device, [0, 1, 2], done.append)  # type: ignore[arg-type]
    assert sum(done) == 6
    assert found == [evaluate(Fixed(), tests, NAMES, device, state) for state in range(3)]  # type: ignore[arg-type]
