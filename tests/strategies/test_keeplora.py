"""KeepLoRA: where its updates lie, how they start, what is kept of weights and inputs, and its storage."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from strategies.base import Unfit
from strategies.clip.weight_matrices import weight_matrices
from strategies.keeplora import Plugin, Settings
from strategies.shared.watched import input_name
from tests.models import (
    assert_learns_as_if_new,
    assert_resumes,
    broken_off,
    tiny_classifier,
    tiny_experiences,
    tiny_images,
    tiny_template,
    vit_b_16,
)
from tests.strategies.shared.test_watched import seen_by_torch


def first_task(classifier: Any, plugin: Plugin) -> Any:
    """The plugin's updates for the first task, attached, and the strategy at it."""
    plugin.begin(classifier)
    template = tiny_template(classifier, [plugin])
    template.experience = tiny_experiences()[0]
    torch.manual_seed(5)
    plugin.before_train_dataset_adaptation(template)
    return template


def gradients_of(classifier: Any, device: torch.device) -> dict[str, torch.Tensor]:
    """The mean gradient over the first task's 12 images, which is that over its three batches of 4."""
    other = copy.deepcopy(classifier)
    images = tiny_images(2)
    F.cross_entropy(other(images.images[:].to(device), 0), torch.tensor(images.targets, device=device)).backward()
    return {
        matrix.name: matrix.rows(matrix.parameter().grad).double()  # type: ignore[arg-type]
        for matrix in weight_matrices(other.clip)
    }


@pytest.mark.parametrize("side", ["as-coded", "input"])
def test_the_first_task_starts_along_the_gradient_outside_the_weights_directions(
    side: str, device: torch.device
) -> None:
    classifier = tiny_classifier(device=device)
    gradients = gradients_of(classifier, device)
    weights = {matrix: matrix.weight().detach().double() for matrix in weight_matrices(classifier.clip)}
    plugin = Plugin(Settings(rank=4, side=side, tau2_text=0.6))  # type: ignore[arg-type]
    first_task(classifier, plugin)
    for matrix, update in plugin.updates.items():
        u, s, vh = torch.linalg.svd(weights[matrix])
        energy, share = s.square() / s.square().sum(), 0.85 if matrix.tower == "image" else 0.6
        count = max(1, sum(1 for i in range(len(s)) if energy[: i + 1].sum() < share))
        kept = (u if side == "as-coded" else vh.T)[:, :count]
        basis = plugin.bases[matrix.name].double().to(device)
        assert basis.shape[1] == count and torch.allclose(basis @ basis.T, kept @ kept.T, atol=1e-4)
        rest = gradients[matrix.name] - gradients[matrix.name] @ kept @ kept.T
        left, sigma, right = torch.linalg.svd(rest)
        best = left[:, :4] * sigma[:4] @ right[:4]
        assert (basis.T @ update.down.double().T).abs().max() < 1e-5
        found = update.up.double() @ update.down.double()
        assert (found - best).norm() < 1e-3 * best.norm(), matrix.name
        assert torch.allclose(update.down @ update.down.T, torch.eye(4, device=device), atol=1e-5)
        assert update.scale == pytest.approx(0.25 / 2)


def test_plus_plus_starts_from_zero_and_grows_with_the_block() -> None:
    plain, plus = Plugin(Settings(rank=4)), Plugin(Settings(rank=4, variant="++"))
    first_task(tiny_classifier(), plain)
    first_task(tiny_classifier(), plus)
    factors = {}
    for (matrix, first), other in zip(plain.updates.items(), plus.updates.values(), strict=True):
        assert torch.equal(first.down, other.down) and first.up.any() and not other.up.any()
        factors[f"{matrix.tower}.{matrix.block}"] = other.scale / first.scale
    assert factors == pytest.approx({"image.0": 0.2, "image.1": 1.0, "text.0": 1.0})


@pytest.mark.parametrize("variant", ["v1", "++"])
def test_the_function_at_the_start_is_unchanged(variant: str) -> None:
    classifier = tiny_classifier()
    images = tiny_images(2).images[:]
    with torch.no_grad():
        before = classifier(images, 0)
    plugin = Plugin(Settings(rank=4, variant=variant))  # type: ignore[arg-type]
    first_task(classifier, plugin)
    assert all(not update.delta().any() for update in plugin.updates.values())  # not one bit
    with torch.no_grad():
        assert torch.allclose(classifier(images, 0), before, atol=1e-4)


@pytest.mark.parametrize("variant", ["v1", "++"])
def test_each_task_changes_the_weights_within_its_a_and_outside_what_is_kept(
    variant: str, device: torch.device
) -> None:
    classifier = tiny_classifier(device=device)
    plugin = Plugin(Settings(rank=4, variant=variant, tau=0.8))  # type: ignore[arg-type]
    plugin.begin(classifier)
    matrices = weight_matrices(classifier.clip)
    downs: dict[str, torch.Tensor] = {}

    def note() -> None:
        for matrix, update in plugin.updates.items():
            assert {name for name, _ in update.named_parameters()} == {"up"}
            assert torch.equal(downs.setdefault(matrix.name, update.down.clone()), update.down)

    template = tiny_template(classifier, [plugin], on_step=note)
    for experience in tiny_experiences():
        before = {matrix: matrix.weight().detach().clone() for matrix in matrices}
        kept = dict(plugin.bases)
        downs.clear()
        template.train(experience)
        assert template.trained_count == sum(4 * len(weight) for weight in before.values())
        for matrix, weight in before.items():
            delta, a = (matrix.weight().detach() - weight).double(), downs[matrix.name].double()
            assert delta.norm() > 1e-4
            assert (delta - delta @ a.T @ a).norm() < 1e-4 * delta.norm() + 1e-6
            if kept:  # the leak is 0, up to the rounding of the merged weight
                assert (delta @ kept[matrix.name].double().to(device)).norm() < 1e-3 * delta.norm()
    assert kept
    assert all(plugin.bases[name].shape[1] >= basis.shape[1] for name, basis in kept.items())


def inputs_after(classifier: Any) -> dict[str, torch.Tensor]:
    """The inputs (B, L, d) of all matrices over the first task's images, all at once, and its prompts."""

    def compute(other: Any) -> None:
        with torch.no_grad():
            other.encode_images(tiny_images(2).images[:])
            other.encode_texts(other.tokens(0)[0])

    return seen_by_torch(classifier, compute)


@pytest.mark.parametrize("features", ["slots", "gram"])
def test_what_is_kept_after_a_task_is_of_the_merged_models_inputs(features: str) -> None:
    """Batches of all 12 images: a slot has one value. For the rule itself see tests of `kept_directions`."""
    classifier, plugin = tiny_classifier(), Plugin(Settings(rank=4, tau=0.9, features=features))  # type: ignore[arg-type]
    plugin.begin(classifier)
    before: dict[str, torch.Tensor] = {}
    tiny_template(classifier, [plugin], batch_size=12, on_step=lambda: before.update(plugin.bases)).train(
        tiny_experiences()[0]
    )
    for matrix in weight_matrices(classifier.clip):
        x = inputs_after(classifier)[input_name(matrix)].flatten(0, 1).double()  # (N, d)
        start, basis = before[matrix.name].double(), plugin.bases[matrix.name].double()

        def share(of: torch.Tensor, x: torch.Tensor = x) -> float:
            return float((x @ of).norm() ** 2 / x.norm() ** 2)

        assert torch.equal(basis[:, : start.shape[1]], start)
        assert share(basis) >= 0.9
        assert basis.shape[1] == start.shape[1] or share(basis[:, :-1]) < 0.9
        _, _, right = torch.linalg.svd(x - x @ start @ start.T)
        count = basis.shape[1] - start.shape[1]
        assert share(torch.cat([start, right[:count].T], dim=1)) == pytest.approx(share(basis), abs=1e-5)


def test_slots_are_averaged_over_batches_and_tokens_are_not() -> None:
    def sizes(features: str) -> dict[str, int]:
        classifier, plugin = tiny_classifier(), Plugin(Settings(rank=4, features=features))  # type: ignore[arg-type]
        tiny_template(classifier, [plugin], batch_size=2).train(tiny_experiences()[0])
        return {name: basis.shape[1] for name, basis in plugin.bases.items()}

    slots, tokens = sizes("slots"), sizes("gram")
    assert all(slots[name] == tokens[name] for name in slots if name.startswith("text"))  # one pass, one batch
    assert sum(slots.values()) < sum(tokens.values())  # averages have fewer directions


def test_samples_shorten_both_passes() -> None:
    def bases(samples: int | None) -> dict[str, torch.Tensor]:
        classifier, plugin = tiny_classifier(), Plugin(Settings(rank=4, samples=samples))
        tiny_template(classifier, [plugin]).train(tiny_experiences()[0])
        return plugin.bases

    few, all_of_them, more = bases(4), bases(None), bases(1000)
    assert all(torch.equal(more[name], basis) for name, basis in all_of_them.items())
    assert any(few[name].shape != basis.shape for name, basis in all_of_them.items())


def test_a_matrix_with_nothing_left_learns_no_more_and_a_line_says_so() -> None:
    classifier, plugin = tiny_classifier(), Plugin(Settings(rank=4))
    plugin.begin(classifier)
    plugin.bases = {"text.0.q": torch.eye(24), "text.0.k": torch.eye(24)[:, :22]}
    weight = classifier.clip.transformer.resblocks[0].attn.in_proj_weight
    before = weight[:24].detach().clone()
    tiny_template(classifier, [plugin]).train(tiny_experiences()[0])
    assert "text.0.q: no free input direction left, skipped" in plugin.notes
    assert any("rank 4 is cut to 2 in 1 of 11 matrices, which have no more free" in note for note in plugin.notes)
    assert torch.equal(weight[:24], before)
    assert plugin.bases["text.0.q"].shape == (24, 24)


@pytest.mark.parametrize("variant", ["v1", "++"])
def test_state_resumes_bit_for_bit_and_begin_forgets(variant: str) -> None:
    plugin, other = (Plugin(Settings(rank=4, tau=0.9, variant=variant)) for _ in range(2))  # type: ignore[arg-type]
    assert_resumes(plugin, other)
    assert all(basis.dtype == torch.float32 for basis in other.state_dict().values())


def test_a_task_that_broke_off_leaves_the_weights_alone() -> None:
    plugin = Plugin(Settings(rank=4))
    assert_learns_as_if_new(broken_off(plugin), plugin, Plugin(Settings(rank=4)))


def test_mlp_matrices_need_the_input_side() -> None:
    classifier = tiny_classifier()
    with pytest.raises(Unfit, match=r"^--side: as-coded .*fc, proj of --matrices .*; expected input"):
        Plugin(Settings(matrices=("q", "fc", "proj"))).begin(classifier)
    plugin = Plugin(Settings(rank=4, side="input", matrices=("q", "fc", "proj"), towers="image"))
    plugin.begin(classifier)
    tiny_template(classifier, [plugin]).train(tiny_experiences()[0])
    assert {name: len(basis) for name, basis in plugin.bases.items() if name.startswith("image.0")} == {
        "image.0.q": 32,
        "image.0.fc": 32,
        "image.0.proj": 128,
    }
    assert not any(name.startswith("text") for name in plugin.bases)


@pytest.mark.parametrize(
    "wrong", [{"tau": 1.0}, {"tau2_text": 0.0}, {"side": "output"}, {"samples": 0}, {"variant": "v2"}]
)
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_full_bases_of_vit_b_16_take_the_stated_storage() -> None:
    """By a rule that holds on a small model of which one direction is free before the first task, and none after it."""

    def full(clip: Any) -> dict[str, int]:
        return {matrix.name: 4 * matrix.weight().shape[1] ** 2 for matrix in weight_matrices(clip)}

    classifier, most = tiny_classifier(), 1 - 1e-9
    plugin = Plugin(Settings(tau=most, tau2_image=most, tau2_text=most))
    tiny_template(classifier, [plugin]).train(tiny_experiences()[0])
    assert {name: basis.nbytes for name, basis in plugin.state_dict().items()} == full(classifier.clip)
    assert sum(full(vit_b_16()).values()) == 163_577_856


@pytest.mark.slow
def test_trained_parameters_on_vit_b_16_are_one_factor_of_rank_16() -> None:
    import open_clip

    clip = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False)
    plugin, matrices = Plugin(Settings()), weight_matrices(clip)
    plugin._last = {"image": 11, "text": 11}
    plugin._starts = {
        matrix.name: (torch.eye(size)[:16], torch.zeros(size, 16))
        for matrix in matrices
        for size in [len(matrix.weight())]
    }
    updates = [plugin.update_of(matrix) for matrix in matrices]
    assert sum(p.numel() for update in updates if update for p in update.parameters()) == 983_040
    assert {update.scale for update in updates if update} == {1 / 16}
