"""iCaRL: herding against the formula, the memory's size and order, and that it is what the distillation reads."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from strategies.base import Unfit
from strategies.icarl import Plugin, Settings, herd
from tests.models import snapshot, tiny_classifier, tiny_experiences, tiny_images, tiny_template


def plain_herding(features: np.ndarray, count: int) -> list[int]:
    chosen: list[int] = []
    for k in range(1, count + 1):
        others = [place for place in range(len(features)) if place not in chosen]
        far = [
            np.linalg.norm(features.mean(axis=0) - (features[place] + features[chosen].sum(axis=0)) / k)
            for place in others
        ]
        chosen.append(others[int(np.argmin(far))])
    return chosen


def test_herding_is_the_formulas() -> None:
    features = F.normalize(torch.randn(15, 6, generator=torch.Generator().manual_seed(2)).double(), dim=1)
    assert herd(features, 7) == plain_herding(features.numpy(), 7)
    assert sorted(herd(features, 99)) == list(range(15))


def trained(memory: int) -> tuple[list[dict[str, torch.Tensor]], Any]:
    """The memory after each of the two tiny tasks (2 and 3 classes of 6 and 4 images)."""
    plugin = Plugin(Settings(memory=memory))
    template = tiny_template(tiny_classifier(), [plugin])
    states = []
    for experience in tiny_experiences():
        template.train(experience)
        states.append({name: tensor.clone() for name, tensor in plugin.state_dict().items()})
    return states, template


def test_all_classes_share_the_memory_and_keep_their_first() -> None:
    (first, second), template = trained(11)
    assert first["classes"].bincount().tolist() == [5, 5]
    assert second["classes"].bincount().tolist() == [2, 2, 2, 2, 2] and second["images"].dtype == torch.uint8
    for label in (0, 1):
        before, after = (state["images"][state["classes"] == label] for state in (first, second))
        assert torch.equal(after, before[:2])
    own = tiny_images(3)
    rows = [row for row, label in enumerate(own.targets) if label == 1]
    features = template.model.eval().encode_images(own.images[:][rows]).detach().double()
    best = plain_herding(features.numpy(), 2)
    assert torch.equal(second["images"][second["classes"] == 3], own.images[:][rows][best])


def test_it_distils_on_the_memory_from_the_second_task_on() -> None:
    plugin = Plugin(Settings(memory=5))
    classifier = tiny_classifier()
    template = tiny_template(classifier, [plugin], iterations=2)
    first, second = tiny_experiences()
    template.train(first)
    memory, start, read = plugin.images.clone(), snapshot(classifier.clip), []
    make = plugin.make_teacher

    def spy(strategy: Any) -> Any:
        teacher = make(strategy)
        assert teacher is not None
        for name, tensor in teacher.clip.state_dict().items():
            assert torch.equal(tensor, start[name])
        encode = teacher.encode_images
        teacher.encode_images = lambda images: (read.append(images.clone()), encode(images))[1]  # type: ignore[func-returns-value,method-assign]
        return teacher

    plugin.make_teacher = spy  # type: ignore[method-assign]
    template.train(second)
    assert len(read) == 2
    assert all(any(torch.equal(image, kept) for kept in memory) for image in itertools.chain(*read))


def test_a_second_run_begins_without_memory_and_a_resumed_one_goes_on_the_same() -> None:
    (_, whole), _ = trained(11)
    classifier, plugin = tiny_classifier(), Plugin(Settings(memory=11))
    assert plugin.state_dict() == {}
    template = tiny_template(classifier, [plugin])
    first, second = tiny_experiences()
    template.train(first)
    other, again = Plugin(Settings(memory=11)), tiny_classifier(seed=3)
    again.clip.load_state_dict(snapshot(classifier.clip))
    other.load_state_dict({name: tensor.clone() for name, tensor in plugin.state_dict().items()})
    resumed = tiny_template(again, [other])
    resumed.clock.train_exp_counter = 1
    resumed.train(second)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in other.state_dict().items())


def test_a_memory_smaller_than_the_classes_is_refused() -> None:
    with pytest.raises(Unfit, match="--memory: must be at least 5, one image of each class, got 4"):
        Plugin(Settings(memory=4)).begin(tiny_classifier())


def test_the_released_quota_is_by_data_set_with_the_rest_for_the_newest() -> None:
    plugin = Plugin(Settings(memory=10, quota="tasks"))
    template = tiny_template(tiny_classifier(), [plugin])
    first, second = tiny_experiences()
    template.train(first)
    kept = plugin.images.clone()
    assert plugin.classes.tolist() == [0] * 10
    template.train(second)
    assert plugin.classes.tolist() == [0] * 5 + [1] * 5 and torch.equal(plugin.images[:5], kept[:5])
    own = tiny_images(3).images[:]
    features = template.model.eval().encode_images(own).detach().double()  # over the mean of the data set
    assert torch.equal(plugin.images[5:], own[plain_herding(features.numpy(), 5)])
    large = Plugin(Settings(memory=10_000, quota="tasks"))
    assert [large._parts(t) for t in (1, 2, 3)] == [(10_000, 10_000), (5000, 5000), (3333, 6667)]
    with pytest.raises(Unfit, match="--memory: must be at least 2, one image of each task, got 1"):
        Plugin(Settings(memory=1, quota="tasks")).begin(tiny_classifier())


def test_the_released_teacher_is_the_initial_clip_and_is_resumed() -> None:
    classifier, plugin = tiny_classifier(), Plugin(Settings(memory=11, teacher="initial"))
    start = snapshot(classifier.clip)
    plugin.begin(classifier)
    template = tiny_template(classifier, [plugin])
    template.train(tiny_experiences()[0])
    other = Plugin(Settings(memory=11, teacher="initial"))
    other.begin(tiny_classifier(seed=3))
    other.load_state_dict(plugin.state_dict())
    for each in (plugin, other):
        teacher = each.make_teacher(template)
        assert teacher is not None
        assert all(torch.equal(tensor, start[name]) for name, tensor in teacher.clip.state_dict().items())
    assert any(not torch.equal(tensor, start[name]) for name, tensor in snapshot(classifier.clip).items())
    alone, untouched = tiny_classifier(), Plugin(Settings(memory=11, teacher="initial"))
    template = tiny_template(alone, [untouched])  # as under Avalanche's own strategies, which never call `begin`
    template.train(tiny_experiences()[0])
    teacher = untouched.make_teacher(template)
    assert teacher is not None
    assert all(torch.equal(tensor, start[name]) for name, tensor in teacher.clip.state_dict().items())
