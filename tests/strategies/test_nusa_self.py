"""NuSA-Self: its teacher is the model before the task, its loss a plain formula, and each space what it says."""

import math
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin

from strategies import lora, nusa, oplora
from strategies.clip.weight_matrices import weight_matrices
from strategies.nusa_self import Plugin, Settings, soft_weights
from strategies.shared.distillation import frozen_copy
from strategies.shared.low_rank import LowRankUpdate, adapted, attach, switched_off
from strategies.shared.other_images import other_images
from tests.models import assert_resumes, snapshot, tiny_classifier, tiny_experiences, tiny_template


SPACES = ["soft", "complement", "tail", "free"]


def moved(plugin: Plugin, weight: torch.Tensor) -> LowRankUpdate:
    """The update of a weight with its factors away from their start."""
    update = plugin.make_update(weight)
    assert update is not None
    torch.nn.init.normal_(update.up if update.core is None else update.core, std=0.3)
    return update


@pytest.mark.parametrize("space", SPACES)
def test_switched_off_the_model_is_what_it_was_to_the_bit(space: Any) -> None:
    classifier, images = tiny_classifier().eval(), torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)

    def features() -> torch.Tensor:
        with torch.no_grad():
            return torch.cat([classifier.encode_images(images), classifier.encode_texts(classifier.tokens(1)[0])])

    before, plugin = features(), Plugin(Settings(rank=3, space=space, dropout=0.0))
    updates = {site: moved(plugin, site.weight().detach()) for site in weight_matrices(classifier.clip)}
    attach(updates)
    on = features()
    with switched_off(updates.values()):
        off = features()
    assert torch.equal(off, before) and (on - before).abs().max() > 1e-3 and torch.equal(features(), on)


@pytest.mark.parametrize("shape", [(9, 7), (7, 9), (8, 8)])
@pytest.mark.parametrize("tokens", [3, 40])
def test_soft_is_the_formula_in_float64(shape: tuple[int, int], tokens: int) -> None:
    torch.manual_seed(0)
    weight, x, at = torch.randn(shape), torch.randn(tokens, shape[1]).double(), torch.randn(tokens, shape[0]).double()
    x.requires_grad_(True)
    update = moved(Plugin(Settings(rank=2, alpha=3, dropout=0.0)), weight).double()
    u, s, vh = torch.linalg.svd(weight.double(), full_matrices=False)
    gains = torch.diag(torch.tensor([min(1.0, float(s.median() / each)) for each in s]).double())
    left = torch.eye(shape[0]).double() - u @ (torch.eye(len(s)) - gains) @ u.T
    right = torch.eye(shape[1]).double() - vh.T @ (torch.eye(len(s)) - gains) @ vh
    a, b = (each.detach().clone().requires_grad_(True) for each in (update.down, update.up))
    expected = x @ (weight.double() + 3 / math.sqrt(2) * left @ b @ a @ right).T
    found = adapted(x, weight.double(), None, {0: update})
    assert torch.allclose(found, expected, atol=1e-5)
    ones = torch.autograd.grad(found, [update.down, update.up, x], at)
    others = torch.autograd.grad(expected, [a, b, x], at)
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(ones, others, strict=True))


@pytest.mark.parametrize(("space", "other"), [("free", lora), ("complement", oplora), ("tail", nusa)])
def test_without_distillation_it_is_the_method_of_its_space(space: Any, other: Any) -> None:
    own = Plugin(Settings(rank=3, space=space, distillation=0.0, matrices=("q", "k", "v", "o")))
    models = []
    for plugin in (own, other.Plugin(other.Settings(rank=3))):
        classifier = tiny_classifier()
        template = tiny_template(classifier, [plugin])
        for experience in tiny_experiences():
            template.train(experience)
        models.append(snapshot(classifier.clip))
    assert all(torch.equal(each, models[1][name]) for name, each in models[0].items())


def test_weights_of_directions_up_to_the_median_and_of_a_weight_of_low_rank() -> None:
    assert soft_weights(torch.tensor([8.0, 4.0, 2.0, 1.0])).tolist() == [0.25, 0.5, 1.0, 1.0]
    assert soft_weights(torch.tensor([3.0, 0.0, 0.0])).tolist() == [0.0, 1.0, 1.0]
    assert soft_weights(torch.zeros(3)).tolist() == [1.0, 1.0, 1.0]


def test_what_does_not_fit_is_said() -> None:
    plugin = Plugin(Settings(rank=3, sentences=4, length=100))
    classifier = tiny_classifier()
    tiny_template(classifier, [plugin]).train(tiny_experiences()[0])
    assert "length 100 is cut to 14, for which the context has room" in plugin.notes
    assert Plugin(Settings(sentences=10**9)).least_bytes(classifier)["sentences"] > 10**11


class _Reference(SupervisedPlugin):
    """Compares each step's loss and gradients with the formula, in float64, from a copy of the model before the task.

    A tower without updates is not held: its term, a constant, is left out.
    """

    def __init__(self, plugin: Plugin) -> None:
        super().__init__()
        self.plugin, self.found = plugin, list[tuple[float, float]]()
        self.gradients: list[tuple[torch.Tensor, torch.Tensor]] = []

    def before_training_iteration(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        self.draws = torch.get_rng_state()  # there is no dropout: the method's draws are the next ones

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        self.teacher = frozen_copy(strategy.model)  # its updates are zero yet

    def before_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        images = strategy.mb_x
        if (kind := self.plugin.settings.images) != "batch":
            torch.set_rng_state(self.draws)  # what is drawn before the loss is drawn again
            images = other_images(kind, images)
        models = (strategy.model, self.teacher)
        (x, x_past), (y, y_past) = (
            [model.encode_images(images).double() for model in models],
            [model.encode_texts(self.plugin.texts).double() for model in models],
        )
        scale, total = float(strategy.model.clip.logit_scale.detach().exp()), strategy.criterion().double()
        teacher = scale * x_past @ y_past.T
        students = {"image": scale * x @ y_past.T, "text": scale * x_past @ y.T}
        for student in (each for tower, each in students.items() if self.plugin.settings.towers in (tower, "both")):
            for one, other in ((student, teacher), (student.T, teacher.T)):
                wanted = (other / 2.0).softmax(dim=1)
                total = total - 0.7 * 4.0 * (wanted * (one / 2.0).log_softmax(dim=1)).sum(dim=1).mean()
        self.found.append((float(strategy.loss.detach()), float(total.detach())))
        self.wanted = torch.autograd.grad(total, self.parameters(), retain_graph=True)

    def after_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        found = [parameter.grad for parameter in self.parameters()]
        self.gradients += zip(found, self.wanted, strict=True)

    def parameters(self) -> list[Any]:
        return [each for update in self.plugin.updates.values() for each in update.parameters()]


@pytest.mark.parametrize(
    "given",
    [
        {"space": "soft"}, {"space": "tail"}, {"images": "crops"}, {"images": "mixtures"}, {"images": "noise"},
        {"texts": "prompts"}, {"texts": "seen"}, {"towers": "image"}, {"towers": "text"},
    ],
)  # fmt: skip
def test_the_loss_and_its_gradients_are_the_formula(given: dict[str, Any]) -> None:
    classifier = tiny_classifier()
    random: dict[str, Any] = {"sentences": 6, "length": 4} if "texts" not in given else {}
    plugin = Plugin(Settings(rank=3, dropout=0.0, distillation=0.7, **random, **given))
    reference = _Reference(plugin)
    template = tiny_template(classifier, [plugin, reference], lr=0.05)
    for experience in tiny_experiences():  # at the second the teacher is no longer the initial model
        template.train(experience)
    assert len(reference.found) == 8
    assert all(found == pytest.approx(expected, rel=1e-5) for found, expected in reference.found)
    assert abs(reference.found[-1][1] - reference.found[0][1]) > 1e-3
    largest = max(float(wanted.abs().max()) for _, wanted in reference.gradients)
    assert all(torch.allclose(found, wanted, rtol=1e-3, atol=1e-5 * largest) for found, wanted in reference.gradients)
    texts = {"prompts": classifier.tokens(1)[0], "seen": torch.cat([classifier.tokens(task)[0] for task in (0, 1)])}
    if (kind := given.get("texts")) is not None:
        assert torch.equal(plugin.texts, texts[kind])


def test_prompts_that_are_held_later_too_are_stored_and_survive_a_kill() -> None:
    assert_resumes(*(Plugin(Settings(rank=3, texts="seen")) for _ in range(2)))
    classifier, plugin = tiny_classifier(), Plugin(Settings(rank=3, texts="seen"))
    template = tiny_template(classifier, [plugin])
    for experience in tiny_experiences():
        template.train(experience)
    assert torch.equal(plugin.state_dict()["seen"], torch.cat([classifier.tokens(task)[0] for task in (0, 1)]))
    plugin.begin(classifier)
    assert plugin.state_dict() == {}


def test_other_images_are_of_the_batch() -> None:
    batch = torch.arange(4 * 3 * 16 * 16).reshape(4, 3, 16, 16).remainder(251).to(torch.uint8)
    batch[2:] = 200
    made = {kind: other_images(kind, batch) for kind in ("crops", "mixtures", "noise")}  # type: ignore[arg-type]
    assert all(each.shape == batch.shape and each.dtype == torch.uint8 for each in made.values())
    assert not any(torch.equal(each, batch) for each in made.values())
    assert (made["crops"][2:] == 200).all()  # each image stays itself
    low, high = batch.amin(dim=0).float() - 1, batch.amax(dim=0).float() + 1
    assert ((made["mixtures"] >= low) & (made["mixtures"] <= high)).all()
    assert abs(float(made["noise"].float().mean()) - 127.5) < 10


def test_it_holds_both_towers() -> None:
    """With a rate of its own against it, distillation keeps features of other images and texts nearer to the start."""
    images, far = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8), []
    for distillation in (0.0, 30.0):
        classifier = tiny_classifier()
        start = frozen_copy(classifier)
        plugin = Plugin(Settings(rank=4, space="free", dropout=0.0, distillation=distillation, sentences=32))
        tiny_template(classifier, [plugin], iterations=40, lr=0.01).train(tiny_experiences()[0])
        texts = classifier.tokens(1)[0]
        with torch.no_grad():
            pairs = [(model.eval().encode_images(images), model.encode_texts(texts)) for model in (classifier, start)]
        far.append([float((one - other).norm()) for one, other in zip(*pairs, strict=True)])
    assert all(held < 0.9 * alone for alone, held in zip(*far, strict=True))


def test_nothing_stays_behind_after_a_task() -> None:
    classifier, plugin = tiny_classifier(), Plugin(Settings(rank=3))
    tiny_template(classifier, [plugin]).train(tiny_experiences()[0])
    assert plugin.state_dict() == {} and not classifier.keeps_features and classifier.batch_features is None
    frozen_copy(classifier)  # a model with a graph in it could not be copied


@pytest.mark.slow
def test_trained_parameters_on_vit_b_16() -> None:
    import open_clip

    clip = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False)
    plugin = Plugin(Settings(rank=16, space="free"))
    sites = weight_matrices(clip, "both", plugin.settings.matrices)
    updates = [plugin.make_update(site.weight()) for site in sites]
    count = sum(parameter.numel() for update in updates if update for parameter in update.parameters())
    assert count == 4_423_680  # CoDyRA's, but for its gates
