"""ZSCL's family: the distillation, its texts and teachers, the averaged weights and the L2 term, against the formulas."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from strategies import lwf, lwf_vr, wise_ft, zscl
from strategies.lwf_vr import random_texts
from strategies.shared.distillation import distill
from strategies.zscl import WeightMean, add_l2_gradient
from tests.models import CLASSES, snapshot, tiny_classifier, tiny_experiences, tiny_images, tiny_template


def reference_plugin(**settings: Any) -> zscl.Plugin:
    """ZSCL with reference data in memory."""
    plugin = zscl.Plugin(zscl.Settings(**settings))
    plugin.reference_images = tiny_images(5, 20, seed=3).images
    tokens = torch.randint(1, 48, (7, 16), generator=torch.Generator().manual_seed(4))
    tokens[:, 6], tokens[:, 7:] = 49, 0
    plugin.reference_texts = tokens
    return plugin


def plain_distill(student: Tensor, teacher: Tensor, temperature: float) -> float:
    """Row by row, entry by entry, in Python's own floats."""
    rows = []
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        wanted = [math.exp(x / temperature) for x in t]
        given = [math.exp(x / temperature) for x in s]
        rows.append(-sum(w / sum(wanted) * math.log(g / sum(given)) for w, g in zip(wanted, given, strict=True)))
    return temperature**2 * sum(rows) / len(rows)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_distillation_is_the_formulas(temperature: float) -> None:
    student, teacher = torch.randn(3, 5).double(), torch.randn(3, 5).double()
    assert float(distill(student, teacher, temperature)) == pytest.approx(plain_distill(student, teacher, temperature))
    assert distill(teacher, teacher, temperature) < distill(student, teacher, temperature)


def losses_of_the_first_step(plugin: Any, task: int = 0) -> float:
    """The loss at the first step beyond the cross-entropy."""
    classifier = tiny_classifier()
    classifier.clip.visual.proj.data += 0.1  # so that a task's start is not the initial model
    plugin.begin(tiny_classifier())
    template = tiny_template(classifier, [plugin], iterations=1, batch_size=4)
    crossed: list[float] = []
    criterion = template.criterion

    def note() -> Tensor:
        loss = criterion()
        crossed.append(float(loss.detach()))
        return loss

    template.criterion = note  # type: ignore[method-assign]
    template.train(tiny_experiences()[task])
    return float(template.losses[0, 0]) - crossed[0]


def expected_terms(plugin: Any, teacher: Any, student: Any, images: Tensor, tokens: Tensor) -> float:
    teacher, student = teacher.double().eval(), student.double().eval()
    scale = float(student.clip.logit_scale.detach().exp())
    with torch.no_grad():
        y = teacher.encode_texts(tokens)
        t, s = scale * teacher.encode_images(images) @ y.T, scale * student.encode_images(images) @ y.T
    temperature = plugin.settings.temperature
    return plain_distill(s, t, temperature) + plain_distill(s.T, t.T, temperature)


def test_zscl_is_taught_by_the_initial_model_on_reference_images_and_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = reference_plugin(l2=0.0, distillation=5.0)
    read: list[Tensor] = []
    plugin_spy(monkeypatch, read)
    found = losses_of_the_first_step(plugin)
    assert len(read) == 1 and read[0].shape == (4, 3, 16, 16)
    started = tiny_classifier()
    started.clip.visual.proj.data += 0.1
    assert plugin.reference_texts is not None
    wanted = expected_terms(plugin, tiny_classifier(), started, read[0], plugin.reference_texts)
    assert found == pytest.approx(5 * wanted, rel=1e-4)
    pool = plugin.reference_images
    assert pool is not None
    assert all(any(torch.equal(image, pool[row]) for row in range(len(pool))) for image in read[0])


def plugin_spy(monkeypatch: pytest.MonkeyPatch, read: list[Tensor]) -> None:
    """Keeps what the teacher looks at."""
    from strategies.clip.classifier import ClipClassifier

    original: Callable[[Any, Tensor], Tensor] = ClipClassifier.encode_images

    def spy(self: Any, images: Tensor) -> Tensor:
        if not any(parameter.requires_grad for parameter in self.parameters()):
            read.append(images.clone())
        return original(self, images)

    monkeypatch.setattr(ClipClassifier, "encode_images", spy)


@pytest.mark.parametrize("task", [0, 1])
def test_lwf_is_taught_by_the_tasks_start_on_its_own_images_and_prompts(
    task: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = lwf.Plugin(lwf.Settings())
    read: list[Tensor] = []
    plugin_spy(monkeypatch, read)
    found = losses_of_the_first_step(plugin, task)
    started = tiny_classifier()
    started.clip.visual.proj.data += 0.1
    wanted = expected_terms(plugin, started, started, read[0], tiny_classifier().tokens(task)[0])
    assert found == pytest.approx(wanted, rel=1e-4)
    own = tiny_images(CLASSES[task]).images
    assert all(any(torch.equal(image, own[row]) for row in range(len(own))) for image in read[0])


def test_random_texts_are_whole_sequences() -> None:
    tokens = random_texts(1000, 10, vocabulary=50, context=16)
    assert tokens.shape == (1000, 16)
    assert (tokens[:, 0] == 48).all() and (tokens[:, 11] == 49).all() and not tokens[:, 12:].any()
    assert tokens[:, 1:11].min() == 0 and tokens[:, 1:11].max() == 47
    assert random_texts(2, 10, vocabulary=50, context=8)[0, -1] == 49


def test_lwf_vr_draws_its_texts_anew_for_each_task() -> None:
    seen: list[Tensor] = []
    notes: list[list[str]] = []
    plugin = lwf_vr.Plugin(lwf_vr.Settings(sentences=6, length=70))
    draw = plugin.reference_tokens

    def note(strategy: Any) -> Tensor:
        seen.append(draw(strategy))
        return seen[-1]

    plugin.reference_tokens = note  # type: ignore[method-assign]
    template = tiny_template(tiny_classifier(), [plugin], iterations=1)
    for experience in tiny_experiences():
        template.train(experience)
        notes.append(plugin.notes)
    assert [len(tokens) for tokens in seen] == [6, 6] and not torch.equal(*seen)
    assert notes == [["length 70 is cut to 14, for which the context has room"], []]  # said once


def test_teacher_and_student_share_no_storage_and_the_teacher_does_not_learn() -> None:
    plugin = reference_plugin()
    classifier = tiny_classifier()
    plugin.begin(classifier)
    before = plugin.state_dict()
    kept = {name: tensor.clone() for name, tensor in before.items()}
    own = {tensor.data_ptr() for tensor in classifier.clip.state_dict().values()}
    assert own.isdisjoint(tensor.data_ptr() for tensor in before.values())
    template = tiny_template(classifier, [plugin])
    for experience in tiny_experiences():
        template.train(experience)
    assert all(torch.equal(plugin.state_dict()[name], tensor) for name, tensor in kept.items())
    assert not all(torch.equal(kept[name], tensor) for name, tensor in snapshot(classifier.clip).items())


def test_a_resumed_zscl_has_the_first_runs_teacher() -> None:
    whole, plugin = tiny_classifier(), reference_plugin()
    plugin.begin(whole)
    template = tiny_template(whole, [plugin])
    first, second = tiny_experiences()
    template.train(first)
    middle, state = snapshot(whole.clip), {name: tensor.clone() for name, tensor in plugin.state_dict().items()}
    template.train(second)
    again, other = tiny_classifier(seed=5), reference_plugin()
    other.begin(again)
    other.load_state_dict(state)
    again.clip.load_state_dict(middle)
    resumed = tiny_template(again, [other])
    resumed.clock.train_exp_counter = 1
    resumed.train(second)
    assert all(torch.equal(tensor, again.clip.state_dict()[name]) for name, tensor in whole.clip.state_dict().items())


def test_distillation_moves_the_image_tower_only() -> None:
    plugin = reference_plugin(l2=0.0)
    classifier = tiny_classifier()
    plugin.begin(tiny_classifier(seed=8))
    template = tiny_template(classifier, [plugin], iterations=1, weight_decay=0.0)
    template.criterion = lambda: 0 * template.mb_output.sum()  # type: ignore[method-assign]
    before = snapshot(classifier.clip)
    changed: set[str] = set()

    def note() -> None:
        changed.update(n for n, tensor in snapshot(classifier.clip).items() if not torch.equal(tensor, before[n]))

    template.on_step = note
    template.train(tiny_experiences()[0])
    assert changed and all(name.startswith("visual") for name in changed)


def test_the_mean_counts_the_start_and_every_snapshot_alike() -> None:
    snapshots = [torch.randn(3, 4).double() for _ in range(5)]
    mean = WeightMean([snapshots[0]])
    for each in snapshots[1:]:
        mean.add([each])
    assert np.allclose(mean.mean[0], sum(s.numpy() for s in snapshots) / 5)


@pytest.mark.parametrize(("iterations", "interval", "steps"), [(4, 2, (1, 3, 4)), (5, 2, (1, 3, 5)), (3, 5, (1,))])
def test_zscl_ends_with_the_mean_over_the_published_steps(
    iterations: int, interval: int, steps: tuple[int, ...]
) -> None:
    """Snapshots after the steps 0, I, 2I, ... (after 1, I + 1, ... updates) and the one of rate 0 at the end, if I divides."""
    plugin = reference_plugin(interval=interval, l2=0.5)
    classifier = tiny_classifier()
    plugin.begin(classifier)
    parameters = dict(classifier.clip.named_parameters())
    states = [{name: p.detach().clone() for name, p in parameters.items()}]

    def note() -> None:
        states.append({name: p.detach().clone() for name, p in parameters.items()})

    tiny_template(classifier, [plugin], iterations=iterations, on_step=note).train(tiny_experiences()[0])
    for name, parameter in parameters.items():
        wanted = sum(states[step][name].double() for step in (0, *steps)) / (1 + len(steps))
        assert torch.allclose(parameter.double(), wanted, atol=1e-6), name


def test_the_l2_term_is_the_squared_distance_to_the_tasks_start() -> None:
    ones = [torch.randn(3, 2).double().requires_grad_(), torch.randn(4).double().requires_grad_()]
    others = [torch.randn(3, 2).double(), torch.zeros(4).double()]
    loss = torch.stack([(a.exp() * 2).sum() for a in ones]).sum()
    distance = torch.stack([((a - b) ** 2).sum() for a, b in zip(ones, others, strict=True)]).sum()
    wanted = torch.autograd.grad(loss + 0.7 * distance, ones, retain_graph=True)
    loss.backward()
    add_l2_gradient(ones, others, 0.7)
    for one, gradient in zip(ones, wanted, strict=True):
        assert one.grad is not None and torch.allclose(one.grad, gradient)
    held, free = (_moved(reference_plugin(l2=l2, interval=10**6)) for l2 in (1e4, 0.0))
    assert held < 0.5 * free


def _moved(plugin: zscl.Plugin) -> float:
    """How far a task moves the weights when only the L2 term changes; without the average."""
    classifier = tiny_classifier()
    plugin.begin(classifier)
    start = [parameter.detach().clone() for parameter in classifier.clip.parameters()]
    ends: list[float] = []

    def note() -> None:
        pairs = zip(classifier.clip.parameters(), start, strict=True)
        ends.append(sum(float((now.detach() - before).square().sum()) for now, before in pairs))

    tiny_template(classifier, [plugin], iterations=12, lr=1e-3, on_step=note).train(tiny_experiences()[0])
    return ends[-1]


@pytest.mark.parametrize("alpha", [0.8, 0.0, 1.0])
def test_wise_ft_averages_with_the_tasks_start(alpha: float) -> None:
    classifier, tuned = tiny_classifier(), tiny_classifier()
    template = tiny_template(classifier, [wise_ft.Plugin(wise_ft.Settings(alpha=alpha))])
    plain = tiny_template(tuned, [wise_ft.Plugin(wise_ft.Settings(alpha=1.0))])
    for experience in tiny_experiences():
        start = snapshot(classifier.clip)
        tuned.clip.load_state_dict(start)
        template.train(experience)
        plain.train(experience)
        for name, tensor in snapshot(classifier.clip).items():
            wanted = alpha * tuned.clip.state_dict()[name].double() + (1 - alpha) * start[name].double()
            assert torch.allclose(tensor.double(), wanted, atol=1e-6), name
