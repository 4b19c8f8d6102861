"""CoDyRA: gates, loss and proximal steps against plain references, what is dropped and merged, and what is counted."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from benchmarks import api as nb
from strategies.clip.weight_matrices import weight_matrices
from strategies.codyra import GatedUpdate, Plugin, Settings, kappa_of, text_to_image
from strategies.shared.low_rank import adapted, attach, merge
from tests.models import CLASSES, snapshot, tiny_classifier, tiny_experiences, tiny_template


def random_update(weight: torch.Tensor, rank: int = 4) -> GatedUpdate:
    update = GatedUpdate(torch.randn(rank, weight.shape[1]), torch.randn(rank), len(weight)).to(weight.device)
    torch.nn.init.normal_(update.up)
    return update


def test_an_update_starts_at_zero_with_normal_gates_and_trains_all_three(device: torch.device) -> None:
    torch.manual_seed(0)
    update: Any = Plugin(Settings(rank=400)).make_update(torch.randn(500, 450).to(device))
    assert not update.delta().any() and update.scale == 1 and update.dropout == 0
    assert {name for name, _ in update.named_parameters()} == {"down", "up", "gates"}
    assert 0 < update.down.abs().max() <= 1 / 450**0.5
    assert update.gates.shape == (400,) and abs(update.gates.mean()) < 0.2 and 0.9 < update.gates.std() < 1.1


def test_the_default_matrices_are_all_six_of_both_towers() -> None:
    plugin = Plugin(Settings(rank=2))
    template = tiny_template(tiny_classifier(), [plugin])
    template.train(tiny_experiences()[0])
    found = weight_matrices(template.model.clip, "both", ("q", "k", "v", "o", "fc", "proj"))
    assert len(found) == 18 and set(plugin.components) == set(found) and plugin.matrices == Settings().matrices
    assert template.trained_count == sum(2 * (sum(site.weight().shape) + 1) for site in found)


@pytest.mark.parametrize("tokens", [3, 40])
def test_forward_and_gradients_are_the_formula_in_float64(tokens: int) -> None:
    torch.manual_seed(1)
    weight, bias = torch.randn(7, 5).double(), torch.randn(7).double()
    x, at = torch.randn(tokens, 5).double().requires_grad_(True), torch.randn(tokens, 7).double()
    update = random_update(weight).double()
    a, b, w = (each.detach().clone().requires_grad_(True) for each in (update.down, update.up, update.gates))
    expected = torch.stack([weight @ one + bias + b @ (w * (a @ one)) for one in x])
    found = adapted(x, weight, bias, {0: update})
    assert torch.allclose(found, expected, atol=1e-10)
    ones = torch.autograd.grad(found, [update.down, update.up, update.gates, x], at)
    others = torch.autograd.grad(expected, [a, b, w, x], at)
    assert all(torch.allclose(one, other, atol=1e-10) for one, other in zip(ones, others, strict=True))


def test_every_gate_of_a_model_has_a_gradient_in_training() -> None:
    plugin, moved = Plugin(Settings(rank=3, threshold=0.0)), []
    starts: dict[str, torch.Tensor] = {}

    def note() -> None:
        for site, update in plugin.updates.items():
            gates: Any = update.gates
            first = starts.setdefault(site.name, gates.detach().clone())
            moved.append(bool((gates != first).all()))

    tiny_template(tiny_classifier(), [plugin], on_step=note).train(tiny_experiences()[0])
    assert moved[-18:] == [True] * 18  # in the first step the gradient is zero, as `up` is


def test_text_to_image_is_a_plain_loop() -> None:
    torch.manual_seed(2)
    logits, labels = torch.randn(6, 4).double().requires_grad_(True), torch.tensor([2, 0, 2, 2, 0, 3])
    total = torch.zeros(()).double()
    for label in range(4):  # 1 has no image in the batch
        column = logits[:, label]
        shares = column.exp() / column.exp().sum()
        for image in range(6):
            if labels[image] == label:
                total = total - shares[image].log()
    found = text_to_image(logits, labels, 7)
    assert found.item() == pytest.approx(total.item() / 7)
    (one,), (other,) = (torch.autograd.grad(each, logits) for each in (found, total / 7))
    assert torch.allclose(one, other, atol=1e-12)


def test_the_loss_has_both_terms() -> None:
    seen: list[tuple[float, float]] = []
    classifier = tiny_classifier()

    def note() -> None:
        logits, labels = template.mb_output.detach(), template.mb_y
        classes = sum(CLASSES[: 1 + template.task])  # those of earlier tasks count too
        both = torch.nn.functional.cross_entropy(logits, labels) + text_to_image(logits, labels, classes)
        seen.append((template.loss.item(), both.item()))

    template = tiny_template(classifier, [Plugin(Settings(rank=2))], label_smoothing=0.0, on_step=note)
    for experience in tiny_experiences():
        template.train(experience)
    assert len(seen) == 8 and all(found == pytest.approx(expected, rel=1e-5) for found, expected in seen)
    assert not torch.allclose(template.losses[:, 1], template.losses[:, 0])  # the first is the template's term alone


def plain_ramp(steps: int, interval: int, threshold: float) -> list[float]:
    """kappa of every step, by a plain loop: a value more at each multiple of the interval from the middle on."""
    place, found = 0, []
    for step in range(steps):
        if step >= steps / 2 and step % interval == 0:
            place += 1
        found.append(threshold * min(place, 49) / 49 if step > steps / 2 else 0.0)
    return found


@pytest.mark.parametrize(
    ("steps", "interval"), [(500, 5), (150, 1), (700, 7), (101, 1), (10, 1), (11, 1), (1, 1), (2, 1)]
)
def test_the_ramp_is_a_plain_loop(steps: int, interval: int) -> None:
    found = [kappa_of(step, steps, 0.49) for step in range(steps)]
    assert found == pytest.approx(plain_ramp(steps, interval, 0.49))
    assert sum(value == 0 for value in found) >= steps / 2
    if steps == 500:
        assert found[250] == 0 and found[251] == pytest.approx(0.01) and found[489] < 0.485 < found[490]
        assert found[490:] == pytest.approx([0.49] * 10)


def test_the_gates_of_a_run_are_shrunk_after_each_step_as_a_plain_loop_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every gate of a run, before and after each proximal step."""
    plugin, found = Plugin(Settings(rank=3, threshold=2.0)), []
    plain = GatedUpdate.shrink

    def shrink(self: GatedUpdate, kappa: float) -> None:
        before = self.gates.detach().tolist()
        plain(self, kappa)
        found.append((template.clock.train_exp_iterations, kappa, before, self.gates.detach().tolist()))

    monkeypatch.setattr(GatedUpdate, "shrink", shrink)
    template = tiny_template(tiny_classifier(), [plugin], iterations=10)
    template.train(tiny_experiences()[0])
    assert [(step, kappa) for step, kappa, *_ in found[::18]] == [
        (step, pytest.approx(2.0 * place / 49)) for step, place in ((6, 2), (7, 3), (8, 4), (9, 5))
    ]
    for _, kappa, before, after in found:
        expected = [(1 if gate > 0 else -1) * (abs(gate) - kappa) if abs(gate) >= 2 * kappa else 0.0 for gate in before]
        assert after == pytest.approx(expected, abs=1e-6)


def test_components_with_a_gate_of_zero_are_dropped_and_the_rest_is_merged_in_float64() -> None:
    torch.manual_seed(3)
    classifier, updates, expected = tiny_classifier(), {}, {}
    for site in weight_matrices(classifier.clip, "both", Settings().matrices):
        update = random_update(site.weight().detach())
        with torch.no_grad():
            update.gates[1] = update.gates[3] = 0.0
            update.up[:, 3] = float("nan")  # what is dropped takes no part
        total = site.weight().detach().double()
        for place in (0, 2):
            outer = torch.outer(update.up[:, place].double(), update.down[place].double())
            total = total + update.gates[place].double() * outer
        updates[site], expected[site] = update, total
        assert update.kept().tolist() == [True, False, True, False]
    merge(classifier.clip, updates)
    for site, total in expected.items():
        assert torch.allclose(site.weight().detach().double(), total, atol=1e-5)


def test_what_is_merged_is_what_was_computed() -> None:
    torch.manual_seed(4)
    classifier = tiny_classifier().eval()
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)

    def features() -> torch.Tensor:
        with torch.no_grad():
            return torch.cat([classifier.encode_images(images), classifier.training_features(0)])

    before, names = features(), snapshot(classifier.clip).keys()
    sites = weight_matrices(classifier.clip, "both", Settings().matrices)
    updates = {site: random_update(site.weight().detach()) for site in sites}
    for update in updates.values():
        update.shrink(0.5)
        torch.nn.init.normal_(update.up, std=0.2)
    assert any(not update.kept().all() for update in updates.values())
    attach(updates)
    unmerged = features()
    merge(classifier.clip, updates)
    assert (unmerged - before).abs().max() > 1e-2
    assert (features() - unmerged).abs().max() < 1e-5 and snapshot(classifier.clip).keys() == names


def test_a_trained_task_counts_what_it_kept() -> None:
    classifier, plugin = tiny_classifier(), Plugin(Settings(rank=8, threshold=4.0))
    kept: dict[str, int] = {}

    def note() -> None:  # after the optimiser's step, hence before the proximal one, which is the last
        if template.clock.train_exp_iterations == 9:
            for site, update in plugin.updates.items():
                gates: Any = update.gates
                kept[site.name] = int((gates.abs() >= 2 * 4.0 * 5 / 49).sum())

    before = {
        site: site.weight().detach().clone() for site in weight_matrices(classifier.clip, "both", plugin.matrices)
    }
    template = tiny_template(classifier, [plugin], iterations=10, on_step=note)
    assert plugin.components == {}
    template.train(tiny_experiences()[0])
    assert {site.name: count for site, count in plugin.components.items()} == kept and len(kept) == 18
    assert 0 < sum(kept.values()) < 8 * 18 and len(set(kept.values())) > 1
    for site, weight in before.items():
        change = (site.weight().detach() - weight).double()
        assert torch.linalg.matrix_rank(change, rtol=1e-4) == plugin.components[site]


def test_where_all_gates_are_zero_it_is_said_the_model_is_as_before_and_the_run_goes_on() -> None:
    classifier, plugin = tiny_classifier(), Plugin(Settings(rank=4, threshold=1000.0))
    before = snapshot(classifier.clip)
    template = tiny_template(classifier, [plugin], iterations=8)
    for experience in tiny_experiences():
        template.train(experience)
        assert plugin.notes == [
            "all gates of all matrices are zero: nothing of the task is kept, the model is unchanged"
        ]
        assert set(plugin.components.values()) == {0}
        assert all(torch.equal(tensor, before[name]) for name, tensor in snapshot(classifier.clip).items())


def test_adam_has_the_papers_betas_and_each_task_draws_anew() -> None:
    plugin, betas = Plugin(Settings(rank=3)), set()
    starts: list[tuple[torch.Tensor, torch.Tensor]] = []

    def note() -> None:
        betas.add(template.optimizer.param_groups[0]["betas"])
        if template.clock.train_exp_iterations == 0:
            update: Any = next(iter(plugin.updates.values()))
            starts.append((update.down.detach().clone(), update.gates.detach().clone()))

    template = tiny_template(tiny_classifier(), [plugin], on_step=note)
    for experience in tiny_experiences():
        template.train(experience)
    assert betas == {(0.9, 0.9999)} and len(CLASSES) == 2
    assert all(not torch.allclose(one, other, atol=0.05) for one, other in zip(*starts, strict=True))


def test_a_run_that_was_killed_goes_on_with_the_same_bits() -> None:
    straight, settings = tiny_classifier(), Settings(rank=4, threshold=2.0)
    whole = Plugin(settings)
    template = tiny_template(straight, [whole], iterations=8)
    template.train(tiny_experiences()[0])
    weights = snapshot(straight.clip)
    template.train(tiny_experiences()[1])
    resumed, plugin = tiny_classifier(seed=3), Plugin(settings)
    plugin.begin(resumed)
    resumed.clip.load_state_dict(weights)
    resumed.known_train_tasks_labels = {0}  # as the harness restores it

    def stop() -> None:
        if broken.clock.train_exp_iterations == 7:
            raise KeyboardInterrupt

    broken = tiny_template(resumed, [plugin], iterations=8, on_step=stop)
    with pytest.raises(KeyboardInterrupt):
        broken.train(tiny_experiences()[1])
    held = {name.replace(".base", ""): tensor for name, tensor in snapshot(resumed.clip).items()}
    assert all(torch.equal(held[name], tensor) for name, tensor in weights.items())
    tiny_template(resumed, [plugin], iterations=8).train(tiny_experiences()[1])
    assert all(torch.equal(t, resumed.clip.state_dict()[n]) for n, t in straight.clip.state_dict().items())
    named = [{site.name: count for site, count in each.components.items()} for each in (whole, plugin)]
    assert named[0] == named[1] and plugin.state_dict() == {}
    plugin.begin(resumed)
    assert plugin.components == {}


@pytest.mark.parametrize("wrong", [{"threshold": -0.1}, {"rank": 0}, {"matrices": "q,w"}])
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_the_recipe_of_xtail_is_the_published_one() -> None:
    common = nb.request({"strategy": "codyra", "stream": "xtail"}).config.common
    assert (common.lr, common.iterations, common.batch_size, common.shots) == (5e-4, 500, 64, 16)
    assert (common.weight_decay, common.warmup, common.label_smoothing) == (0, 0, 0)


@pytest.mark.slow
def test_trained_parameters_on_vit_b_16_are_the_published_ones() -> None:
    import open_clip

    clip = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False)
    plugin = Plugin(Settings())
    updates = [plugin.make_update(site.weight()) for site in weight_matrices(clip, "both", Settings().matrices)]
    assert len(updates) == 144
    # 4.4 M published; 16 gates for each of the 144 matrices come to the factors' 4.42 M.
    assert sum(p.numel() for update in updates for p in update.parameters()) == 4_423_680 + 16 * 144
