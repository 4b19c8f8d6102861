"""RAIL: what it learns against the batch solution, its scores in every evaluation, what it stores, and resuming."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from benchmarks import api as nb
from benchmarks.config.errors import UserError
from benchmarks.experiment.evaluation import EvaluationSet, evaluate
from benchmarks.experiment.fit import check_images
from benchmarks.run import main
from strategies.base import Budget, Unfit
from strategies.clip.classifier import ClipClassifier
from strategies.numerics.ridge import projection
from strategies.rail import Plugin, Settings
from tests.benchmarks.test_run import words
from tests.models import (
    CLASSES,
    assert_resumes,
    snapshot,
    tiny_classifier,
    tiny_experiences,
    tiny_images,
    tiny_template,
)


VARIANTS = ["primal", "dual"]
IMAGES = tiny_images(5, 40, seed=5).images[:]


def learned(variant: Any, tasks: int = 2, device: torch.device | None = None, **settings: Any) -> tuple[Plugin, Any]:
    """RAIL after the first tiny tasks, and its classifier."""
    classifier = tiny_classifier(device=device or torch.device("cpu"))
    plugin = Plugin(Settings(variant=variant, hidden=50, **settings))
    plugin.begin(classifier)
    template = tiny_template(classifier, [plugin], iterations=0)
    for experience in list(tiny_experiences())[:tasks]:
        template.train(experience)
    return plugin, classifier.eval()


def features(classifier: Any, images: Tensor) -> Tensor:
    with torch.no_grad():
        return classifier.encode_images(images.to(classifier.mean.device)).cpu().double()


def batch_ridge(plugin: Plugin, classifier: Any, x: Tensor, tasks: int) -> Tensor:
    """The regression's values (B, C) for features x, all images of the learned tasks at once, in float64."""
    seen = torch.cat([features(classifier, tiny_images(classes).images[:]) for classes in CLASSES[:tasks]])
    labels = torch.tensor([sum(CLASSES[:t]) + y for t in range(tasks) for y in tiny_images(CLASSES[t]).targets])
    y = torch.eye(sum(CLASSES[:tasks]), dtype=torch.float64)[labels]
    if plugin.settings.variant == "dual":
        k = torch.exp(-0.1 * torch.cdist(seen, seen).square())
        rows = torch.exp(-0.1 * torch.cdist(x, seen).square())
        return rows @ torch.linalg.solve(k + 0.001 * torch.eye(len(k)), y)
    e = projection(50, x.shape[1], int(plugin.parts["seed"])).double()
    phi = torch.relu(seen @ e.T)
    return torch.relu(x @ e.T) @ torch.linalg.solve(phi.T @ phi + 0.1 * torch.eye(50), phi.T @ y)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("tasks", [1, 2])
def test_task_after_task_gives_the_batch_solution(variant: Any, tasks: int, device: torch.device) -> None:
    plugin, classifier = learned(variant, tasks, device)
    x = features(classifier, IMAGES)
    expected = batch_ridge(plugin, classifier, x, tasks)
    found = plugin.answers(x.float().to(device)).cpu().double()
    assert found.shape == (40, sum(CLASSES[:tasks])) and torch.allclose(found, expected, atol=1e-4)
    assert expected.std() > 0.01


def plain(plugin: Plugin, classifier: Any, logits: Tensor, x: Tensor, classes: range, of_learned: int) -> Tensor:
    """The scores by the definition, image by image."""
    share = plugin.settings.fusion
    a = batch_ridge(plugin, classifier, x, 1 if of_learned == CLASSES[0] else 2)
    rows = []
    for row, values in zip(logits.double(), a, strict=True):
        p = row.softmax(dim=0)
        if classes[int(p.argmax())] < of_learned:
            whole = torch.cat([values, torch.zeros(5 - len(values))])[list(classes)]
            p = (1 - share) * p + share * whole
        rows.append(p)
    return torch.stack(rows)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_regression_answers_only_where_clip_sees_a_learned_class(variant: Any, device: torch.device) -> None:
    plugin, classifier = learned(variant, 1, device)
    x, images = features(classifier, IMAGES), IMAGES.to(device)
    zero = tiny_classifier(device=device).eval()
    scores = classifier.scored(images)
    for tasks, classes in ((range(2), range(5)), (range(1), range(2)), (range(1, 2), range(2, 5))):
        logits = zero.scored(images)(tasks).cpu()
        expected = plain(plugin, classifier, logits, x, classes, CLASSES[0])
        assert torch.allclose(scores(tasks).cpu().double(), expected, atol=1e-4)
        if len(tasks) == 2:
            fused = logits.argmax(dim=1) < 2
            assert 0 < int(fused.sum()) < 40
            assert torch.allclose(expected[~fused], logits.double().softmax(dim=1)[~fused], atol=1e-6)
            assert torch.allclose(classifier.union_logits(images), scores(tasks), atol=1e-6)
    with torch.no_grad():  # Avalanche's own evaluation
        assert torch.allclose(classifier(images, 1), scores(range(1, 2)), atol=1e-6)
        assert torch.allclose(classifier(images, 0), scores(range(1)), atol=1e-6)


def test_each_accuracy_is_among_its_own_classes() -> None:
    """Task-aware scores are no columns of the task-agnostic ones, since softmax and largest entry are among other classes."""
    _, classifier = learned("primal", 1)
    labels = torch.arange(40) % 2
    found = evaluate(
        classifier,
        [EvaluationSet(IMAGES, labels), EvaluationSet(IMAGES.clone(), labels)],
        [("a", "b"), ("c", "d", "e")],
        torch.device("cpu"),
        1,
    )
    scores = classifier.scored(IMAGES)
    union, own = scores(range(2)), scores(range(1))
    assert found.known[0] == pytest.approx(100 * float((own.argmax(1) == labels).double().mean()))
    assert found.unknown[0] == pytest.approx(100 * float((union.argmax(1) == labels).double().mean()))
    assert found.seen == [found.known[0], None]
    assert (union[:, :2].argmax(1) != own.argmax(1)).any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_before_any_task_and_for_other_classes_it_is_zero_shot_clip(variant: Any) -> None:
    zero = tiny_classifier().eval()
    _, classifier = learned(variant, 0)
    assert torch.equal(classifier.union_logits(IMAGES), zero.union_logits(IMAGES).softmax(dim=1))
    _, classifier = learned(variant, 2)
    beside, prompts = classifier.beside([classifier.tokens(1)]), zero.beside([zero.tokens(1)])
    assert torch.equal(beside.union_logits(IMAGES), prompts.union_logits(IMAGES))
    assert all(torch.equal(tensor, snapshot(zero.clip)[name]) for name, tensor in snapshot(classifier.clip).items())


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_killed_run_goes_on_bit_for_bit(variant: Any) -> None:
    plugin, other = (Plugin(Settings(variant=variant, hidden=50)) for _ in range(2))
    assert_resumes(plugin, other)
    straight, resumed = learned(variant)[1], tiny_classifier()
    again = Plugin(Settings(variant=variant, hidden=50))
    again.begin(resumed)
    again.load_state_dict(learned(variant)[0].state_dict())
    assert torch.equal(resumed.eval().union_logits(IMAGES), straight.union_logits(IMAGES))


def test_the_primal_form_stores_r_w_and_a_seed_and_the_dual_one_features_and_labels() -> None:
    state = learned("primal")[0].state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {
        "inverse": (50, 50), "weights": (50, 5), "seed": (), "tasks": (2,),
    }  # fmt: skip
    assert state["inverse"].dtype == state["weights"].dtype == torch.float32
    state = learned("dual")[0].state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {
        "features": (24, 16), "labels": (24,), "tasks": (2,),
    }  # fmt: skip


def test_the_published_matrix_takes_900_megabytes() -> None:
    classifier = tiny_classifier()
    needed = Plugin(Settings()).least_bytes(classifier)["hidden"]
    assert needed == 900_000_000 + 15_000 * 4 * (16 + 5)  # R, then E and W: 60 kB a class
    assert Plugin(Settings(variant="dual")).least_bytes(classifier) == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"variant": "primal", "ridge": 1e-300}, "--ridge: must be at least "),
        ({"variant": "primal", "ridge": 1e-7}, "--ridge: must be at least "),
        ({"variant": "dual", "kernel_ridge": 1e-15}, "--kernel-ridge: must be at least "),
    ],
)
def test_a_ridge_whose_answers_would_be_rounding_is_refused(settings: Any, said: str) -> None:
    with pytest.raises(Unfit) as error:
        learned(**settings, tasks=1)
    assert str(error.value).startswith(said)
    name = said[2:].partition(":")[0].replace("-", "_")
    enough = float(str(error.value).removeprefix(said).split()[0])
    assert learned(**{**settings, name: enough}, tasks=1)[0].learned == [0]


def test_the_runs_seed_decides_the_random_features() -> None:
    seeds = set()
    for seed in (1, 1, 2):
        classifier = tiny_classifier()
        plugin = Plugin(Settings(hidden=4))
        tiny_template(classifier, [plugin], iterations=0, seed=seed).train(tiny_experiences()[0])
        seeds.add(int(plugin.parts["seed"]))
    assert len(seeds) == 2


def test_a_stream_that_repeats_its_classes_is_refused() -> None:
    tiny = tiny_classifier()
    prompts = [tiny.tokens(task).clone() for task in (0, 1, 0)]
    classifier = ClipClassifier(tiny.clip, prompts, (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(
        Unfit, match=r"^--stream: task 3 has the same classes as task 1, which rail cannot learn .*again$"
    ):
        Plugin(Settings()).begin(classifier)
    assert classifier.head is None


def test_no_task_has_steps() -> None:
    assert Plugin(Settings()).budgets([Budget(7, 0.1), Budget(9, 0.2)], 0.3) == [Budget(0, 0.3)] * 2


@pytest.mark.parametrize(
    "wrong",
    [{"hidden": 0}, {"ridge": 0.0}, {"kernel_ridge": -1.0}, {"gamma": -1.0}, {"fusion": 1.5}, {"variant": "x"}],
)
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_a_run_learns_says_so_and_cannot_be_tested_by_its_model_alone(
    images: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--strategy", "rail", "--hidden", "50", "--predictions", *words(images, tiny_clip, tmp_path)]
    assert main(line) == 0
    said = capsys.readouterr().err
    assert "nothing was trained" not in said and said.count("this task") == 3
    (run,) = nb.load_runs(tmp_path)
    assert not run.learns_nothing and run.cost["trained_parameters"] == [50 * 2, 50 * 3, 50 * 4]  # tasks share names
    assert min(run.cost["carried_bytes"]) > 4 * 50 * 50
    known = run.accuracy["known"]
    assert known[1, 0] > known[0, 0]
    table = run.predictions(3)
    right = (table["own_best"] == table["label"]).groupby(table["task"], observed=True, sort=False).mean()
    np.testing.assert_allclose(100 * right, known[3])
    again = [
        "--strategy",
        "zeroshot",
        "--start-from",
        str(run.folder),
        "--results",
        str(tmp_path / "more"),
        "--no-plots",
    ]
    assert main(again) == 2
    assert "computes with parts that are not in its model" in capsys.readouterr().err


def with_shared_names() -> ClipClassifier:
    """The tiny classifier of two tasks, of which the first class of each has the same name."""
    classifier = tiny_classifier()
    classifier.class_ids = [torch.tensor([0, 1]), torch.tensor([0, 2, 3])]
    return classifier


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_name_that_two_tasks_share_is_one_class(variant: Any) -> None:
    """It is learned with the first of them, and both tasks' images are its images."""
    classifier = with_shared_names()
    plugin = Plugin(Settings(variant=variant, hidden=50))
    plugin.begin(classifier)
    template, (first, second) = tiny_template(classifier, [plugin], iterations=0), tiny_experiences()
    template.train(first)
    x, zero = features(classifier.eval(), IMAGES), tiny_classifier().eval()
    p = zero.union_logits(IMAGES).softmax(dim=1)
    a = plugin.answers(x.float())[:, [0, 1, 0]]  # of the second task's three classes only the first is known
    mixed = 0.2 * p + 0.8 * F.pad(a, (0, 2))
    expected = torch.where((p.argmax(dim=1) < 3)[:, None], mixed, p)
    assert torch.allclose(classifier.union_logits(IMAGES), expected, atol=1e-6)
    assert (p.argmax(dim=1) > 2).any() and (p.argmax(dim=1) < 2).any()

    template.train(second)
    seen = torch.cat([features(classifier.eval(), tiny_images(classes).images[:]) for classes in CLASSES])
    own = [torch.tensor([0, 1])[list(tiny_images(2).targets)], torch.tensor([0, 2, 3])[list(tiny_images(3).targets)]]
    y = torch.eye(4, dtype=torch.float64)[torch.cat(own)]
    if variant == "primal":
        e = projection(50, x.shape[1], int(plugin.parts["seed"])).double()
        phi = torch.relu(seen @ e.T)
        batch = torch.relu(x @ e.T) @ torch.linalg.solve(phi.T @ phi + 0.1 * torch.eye(50), phi.T @ y)
    else:
        k = torch.exp(-0.1 * torch.cdist(seen, seen).square()) + 0.001 * torch.eye(len(seen))
        batch = torch.exp(-0.1 * torch.cdist(x, seen).square()) @ torch.linalg.solve(k, y)
    assert torch.allclose(plugin.answers(x.float()).double(), batch, atol=1e-4)
    again = Plugin(Settings(variant=variant, hidden=50))
    again.begin(resumed := with_shared_names())
    again.load_state_dict(plugin.state_dict())
    assert torch.equal(resumed.eval().union_logits(IMAGES), classifier.union_logits(IMAGES))


def test_a_kernel_that_memory_cannot_hold_is_refused_before_the_run() -> None:
    classifier = tiny_classifier()
    check_images(Plugin(Settings(variant="dual")), classifier, 1000, free=16_000_000)
    check_images(Plugin(Settings()), classifier, 10**6, free=1)
    with pytest.raises(UserError, match=r"^what the method makes of 1001 training images takes at least 16.0 MB"):
        check_images(Plugin(Settings(variant="dual")), classifier, 1001, free=16_000_000)
