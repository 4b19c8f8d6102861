"""Avalanche's own plugins here: their rules against plain references, what they carry, exactly the run's steps."""

import itertools
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from torch import Tensor

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.config.recipes import recipe
from benchmarks.config.resolve import resolve
from benchmarks.runs.write import run_path
from strategies import finetune
from strategies.base import StrategyPlugin, Unfit
from strategies.training.experiences import make_benchmark
from strategies.training.template import ClipTemplate, MixedCrossEntropy
from tests.models import snapshot, tiny_classifier, tiny_images, tiny_template


CLASSES = (2, 3, 2)
STEPS = 5
NAMES = [name for name in registry.names("strategy") if name.startswith("avalanche:")]
SETTINGS: dict[str, dict[str, Any]] = {
    "ewc": {"ewc_lambda": 10.0},
    "si": {"si_lambda": 1e4},
    "replay": {"mem_size": 7},
    "agem": {"patterns_per_exp": 4, "sample_size": 4},
    "gem": {"patterns_per_exp": 5},
    "lwf": {"alpha": 3.0},
}


def three_tasks() -> Any:
    sets = [tiny_images(classes, count=11, seed=task) for task, classes in enumerate(CLASSES)]
    return make_benchmark(sets).train_stream


def classifier() -> Any:
    """Three tasks: the third has the first one's prompts."""
    model = tiny_classifier()
    model.register_buffer("tokens_2", model.tokens(0).flip(1), persistent=False)
    model.class_counts.append(CLASSES[2])
    model.lengths.append(model.lengths[0])
    model.firsts.append(2)
    return model


def make(name: str, **settings: Any) -> StrategyPlugin:
    module = registry.find("strategy", f"avalanche:{name}").load()
    return module.Plugin(module.Settings(**{**SETTINGS[name], **settings}))


def begin(plugin: StrategyPlugin, **changes: Any) -> ClipTemplate:
    model = classifier()
    plugin.begin(model)
    return tiny_template(model, plugin.plugins(), iterations=STEPS, **changes)


def trained(plugin: StrategyPlugin, tasks: int = 3) -> ClipTemplate:
    template = begin(plugin)
    for experience in three_tasks()[:tasks]:
        template.train(experience)
    return template


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def fine_tuned() -> dict[str, Tensor]:
    return snapshot(trained(finetune.Plugin(finetune.Settings())).model.clip)


def test_the_plugins_on_offer() -> None:
    assert [name.partition(":")[2] for name in NAMES] == sorted(SETTINGS)


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_resumed_run_is_the_same_bit_for_bit_and_a_second_run_inherits_nothing(name: str) -> None:
    plugin = make(name)
    assert plugin.state_dict() == {}
    template = begin(plugin)
    steps: list[int] = []
    template.on_step = lambda: steps.append(template.task)
    first, second, third = three_tasks()
    template.train(first)
    template.train(second)
    between = {key: tensor.clone() for key, tensor in plugin.state_dict().items()}
    model = snapshot(template.model.clip)
    template.train(third)
    assert [steps.count(task) for task in range(3)] == [STEPS] * 3
    whole, state = snapshot(template.model.clip), plugin.state_dict()

    torch.rand(3)  # another process has other generators
    resumed = make(name)
    going_on = begin(resumed)
    going_on.model.clip.load_state_dict(model)
    resumed.load_state_dict(between)
    assert equal(resumed.state_dict(), between)
    going_on.model.known_train_tasks_labels = {0, 1}
    going_on.clock.train_exp_counter = 2
    going_on.train(third)
    assert equal(snapshot(going_on.model.clip), whole) and equal(resumed.state_dict(), state)
    assert not equal(whole, fine_tuned())  # the plugin does something

    again = begin(plugin)
    assert plugin.state_dict() == {}
    for experience in (first, second):
        again.train(experience)
    assert equal(snapshot(again.model.clip), model) and equal(plugin.state_dict(), between)


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_the_first_task_is_fine_tuning_and_the_model_stays_a_plain_one(name: str) -> None:
    one = trained(make(name), tasks=1).model.clip.state_dict()
    other = trained(finetune.Plugin(finetune.Settings()), tasks=1).model.clip.state_dict()
    assert one.keys() == other.keys()
    # SI's penalty is 0 there, but is computed.
    assert all(torch.allclose(tensor, other[key], atol=1e-6) for key, tensor in one.items())


def test_nothing_a_user_could_stumble_on_is_warned_of() -> None:
    before = list(warnings.filters)
    trained(make("replay"))  # Avalanche's deprecated methods change the process's filters
    assert list(warnings.filters) == before


def test_label_smoothing_of_a_mixed_batch_goes_over_each_images_own_classes() -> None:
    model, smoothing = classifier(), 0.2
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    tasks, labels = torch.tensor([0, 1, 1, 0, 2]), torch.tensor([1, 2, 0, 0, 1])
    logits = model(images, tasks)
    loss = MixedCrossEntropy(label_smoothing=smoothing)(logits, labels)
    each = []
    for row, task, label in zip(logits.double(), tasks.tolist(), labels.tolist(), strict=True):
        p = row[: CLASSES[task]].softmax(dim=0)
        each.append(-(1 - smoothing) * p[label].log() - smoothing * p.log().mean())
    assert torch.isclose(loss.double(), torch.stack(each).mean(), atol=1e-5)
    gradient = torch.autograd.grad(loss, model.clip.text_projection, retain_graph=True)[0]
    wanted = torch.autograd.grad(torch.stack(each).mean(), model.clip.text_projection)[0]
    assert torch.allclose(gradient, wanted, atol=1e-6) and gradient.any()


def plain_loss(template: ClipTemplate) -> float:
    return float(F.cross_entropy(template.mb_output.detach(), template.mb_y, label_smoothing=0.2))


def test_ewc_penalises_leaving_the_weights_by_the_squared_gradients_of_both_towers() -> None:
    plugin = make("ewc", ewc_lambda=3.0)
    template = begin(plugin)
    first, second, _ = three_tasks()
    template.train(first)
    state = {name: tensor.double() for name, tensor in plugin.state_dict().items()}
    parameters = {name: tensor for name, tensor in template.model.named_parameters() if tensor.requires_grad}
    images, labels = torch.stack([x for x, _, _ in first.dataset]), torch.tensor([y for _, y, _ in first.dataset])
    squares = dict.fromkeys(parameters, torch.zeros(()).double())
    for places in ([0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]):
        loss = F.cross_entropy(template.model(images[places], 0), labels[places], label_smoothing=0.2)
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        for name, gradient in zip(parameters, gradients, strict=True):
            squares[name] = squares[name] + gradient.double() ** 2 / 3
    for name, parameter in parameters.items():
        assert torch.allclose(state[f"importance.0.{name}"], squares[name], rtol=1e-3, atol=1e-7), name
        assert torch.equal(state[f"weight.0.{name}"], parameter.double())
    assert state["importance.0.clip.text_projection"].any() and state["importance.0.clip.visual.proj"].any()

    found: list[float] = []
    weights = [snapshot(template.model)]  # before each step, and after the last

    def note() -> None:
        found.append(float(template.loss.detach()) - plain_loss(template))
        weights.append(snapshot(template.model))

    template.on_step = note
    template.train(second)
    for penalty, now in zip(found, weights, strict=False):
        terms = [squares[name] * (now[name].double() - state[f"weight.0.{name}"]) ** 2 for name in parameters]
        assert penalty == pytest.approx(3 * sum(float(term.sum()) for term in terms), abs=1e-5, rel=1e-3)
    assert found[-1] > 1e-4


def test_online_ewc_carries_one_penalty_whatever_the_number_of_tasks() -> None:
    one, two, separate = (make("ewc", decay_factor=decay) for decay in (0.5, 0.5, None))
    trained(one, tasks=1)
    trained(two, tasks=2)
    trained(separate, tasks=2)
    assert len(one.state_dict()) == len(two.state_dict()) == len(separate.state_dict()) / 2
    name = "clip.text_projection"
    expected = one.state_dict()[f"importance.0.{name}"] * 0.5
    assert (two.state_dict()[f"importance.1.{name}"] > expected).any()


def test_si_sums_gradient_times_step_also_on_the_cpu() -> None:
    plugin = make("si")
    template = begin(plugin)
    names = [name for name, parameter in template.model.named_parameters() if parameter.requires_grad]
    weights, gradients = [snapshot(template.model)], []

    def note() -> None:
        weights.append(snapshot(template.model))
        gradients.append({name: dict(template.model.named_parameters())[name].grad.double() for name in names})

    template.on_step = note
    template.train(three_tasks()[0])
    for name in names:
        steps = [after[name].double() - before[name].double() for before, after in itertools.pairwise(weights)]
        product = sum(gradient[name] * step for gradient, step in zip(gradients, steps, strict=True))
        total = product / ((weights[-1][name].double() - weights[0][name].double()) ** 2 + 1e-7)
        found = plugin.state_dict()[f"sum.{name}"].view_as(total).double()
        assert torch.allclose(found, total, rtol=1e-2, atol=1e-3 * float(total.abs().max())), name
        omega = plugin.state_dict()[f"importance.{name}"].view_as(total).double()
        assert torch.equal(omega, (-found).clamp(max=0.001).float().double())
    assert plugin.state_dict()["importance.clip.text_projection"].max() == pytest.approx(0.001)


def test_lwf_distils_from_a_separate_copy_over_the_past_tasks_only() -> None:
    plugin = make("lwf", alpha=2.0, temperature=3.0)
    template = begin(plugin)
    first, second, _ = three_tasks()
    template.train(first)
    before = snapshot(template.model.clip)
    teacher = plugin.stock.lwf.prev_model  # type: ignore[attr-defined]
    students = {parameter.data_ptr() for parameter in template.model.parameters()}
    assert not students & {parameter.data_ptr() for parameter in teacher.parameters()}
    student = classifier()
    found: list[float] = []
    wanted: list[float] = []
    weights = [before]

    def logits(clip: dict[str, Tensor]) -> Tensor:
        student.clip.load_state_dict(clip)
        return student(template.mb_x, 0).detach().double()

    def note() -> None:
        found.append(float(template.loss.detach()) - plain_loss(template))
        p, q = (logits(before) / 3).softmax(dim=1), (logits(weights[-1]) / 3).softmax(dim=1)
        wanted.append(2 * float((p * (p / q).log()).sum(dim=1).mean()))
        weights.append(snapshot(template.model.clip))

    template.on_step = note
    template.train(second)
    assert found == pytest.approx(wanted, abs=1e-4, rel=1e-3)
    assert wanted[0] == pytest.approx(0, abs=1e-6) and wanted[-1] > 1e-3
    assert plugin.state_dict()["classes"].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2]]


def test_all_tasks_logits_are_each_tasks_own() -> None:
    model = classifier()
    model.known_train_tasks_labels = {0, 2}
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    together = model(images, None)
    assert together.keys() == {0, 2}
    assert all(torch.allclose(logits, model(images, task), atol=1e-5) for task, logits in together.items())


def test_replay_takes_a_batch_of_the_task_and_one_of_the_memory() -> None:
    plugin = make("replay", mem_size=6)
    template = begin(plugin)
    seen: list[tuple[int, list[int]]] = []
    template.on_step = lambda: seen.append((template.task, template.mb_task_id.tolist()))
    for experience in three_tasks():
        template.train(experience)
    assert [task for task, _ in seen] == [0] * STEPS + [1] * STEPS + [2] * STEPS
    assert all(sum(label == task for label in labels) == 4 for task, labels in seen)
    past = [sum(label != task for label in labels) for task, labels in seen]
    assert past == [0] * STEPS + [4, 2, 4, 2, 4] * 2  # six stored images, in batches of four
    assert {label for task, labels in seen[-STEPS:] for label in labels} == {0, 1, 2}
    state = plugin.state_dict()
    assert [len(state[f"labels.{task}"]) for task in range(3)] == [2, 2, 2]
    assert sum(t.nbytes for t in state.values()) == 6 * (3 * 16 * 16 + 8)


@pytest.mark.parametrize("name", ["replay", "agem", "gem"])
def test_stored_images_are_the_tasks_own_pixels_in_bytes(name: str) -> None:
    plugin = make(name)
    trained(plugin, tasks=2)
    state = plugin.state_dict()
    for task, experience in enumerate(three_tasks()[:2]):
        known = {(x.numpy().tobytes(), y) for x, y, _ in experience.dataset}
        images, labels = state[f"images.{task}"], state[f"labels.{task}"]
        assert images.dtype == torch.uint8 and len(images)
        kept = {(x.numpy().tobytes(), y) for x, y in zip(images, labels.tolist(), strict=True)}
        assert kept <= known and len(kept) == len(images)


class Gradients(SupervisedPlugin):
    """Notes the gradient (parameters,) of every step after the first task, before the stock plugin's turn or after it."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[Tensor] = []

    def after_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if strategy.task:
            parameters = strategy.model.parameters()
            each = [torch.zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in parameters]
            self.noted.append(torch.cat(each).double())


@pytest.mark.parametrize("name", ["agem", "gem"])
def test_a_gradient_against_the_memorys_is_projected(name: str) -> None:
    plugin = make(name)
    before, after = Gradients(), Gradients()
    model = classifier()
    plugin.begin(model)
    template = tiny_template(model, [before, *plugin.plugins(), after], iterations=STEPS)
    stock: Any = plugin.plugins()[0]
    memories: list[Tensor] = []  # of each step (past tasks or 1, parameters)

    def note() -> None:
        if template.task:
            memories.append((stock.G if name == "gem" else stock.reference_gradients[None]).double())

    template.on_step = note
    for experience in three_tasks():
        template.train(experience)
    assert len(memories) == len(before.noted) == STEPS * 2
    projected = 0
    for memory, gradient, found in zip(memories, before.noted, after.noted, strict=True):
        products = memory @ gradient
        expected = gradient
        if (products < 0).any():
            projected += 1
            if name == "agem":
                expected = gradient - products[0] / (memory[0] @ memory[0]) * memory[0]
            else:
                v = dual_solution(memory @ memory.T + 1e-3 * torch.eye(len(memory)), products, least=0.5)
                expected = gradient + v @ memory
        assert (found - expected).norm() < 1e-4 * expected.norm()
    assert projected


def dual_solution(square: Tensor, products: Tensor, least: float) -> Tensor:
    """v, no entry below `least`, that minimises v P v / 2 + products v: the best over all sets of entries at the bound."""
    candidates = []
    for bound in itertools.product([True, False], repeat=len(products)):
        v, free = torch.full_like(products, least), ~torch.tensor(bound)
        if free.any():
            pull = products[free] + square[free][:, ~free].sum(dim=1) * least
            v[free] = torch.linalg.solve(square[free][:, free], -pull)
        if (v >= least - 1e-12).all():
            candidates.append(v)
    return min(candidates, key=lambda v: float(v @ square @ v / 2 + products @ v))


def test_a_memory_too_small_for_the_stream_is_named() -> None:
    for name, setting in (("replay", "mem_size"), ("agem", "sample_size")):
        with pytest.raises(Unfit, match=f"--{setting.replace('_', '-')}: must be at least"):
            make(name, **{setting: 1}).begin(classifier())


def test_names_settings_recipes_and_folders() -> None:
    with pytest.raises(
        UserError, match=r'no strategy "avalanche:ewk" \(did you mean "avalanche:ewc"\?\); known: .*avalanche:agem'
    ):
        resolve({"strategy": "avalanche:ewk"})
    with pytest.raises(UserError, match="--ewc-lambda: a setting of avalanche:ewc, not of avalanche:si"):
        resolve({"strategy": "avalanche:si", "ewc_lambda": "1"})
    config = resolve({"strategy": "avalanche:ewc", "ewc_lambda": "5"})
    assert run_path(Path("results"), config).parts[-2:] == ("avalanche-ewc", "seed42,ewc_lambda=5.0")
    for name in NAMES:
        assert recipe("mtil", name) == recipe("mtil", "finetune")
        assert recipe("micro", name).keys() >= recipe("micro", "finetune").keys()
