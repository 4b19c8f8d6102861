"""The activation null space: each variant's subspaces against float64, exact after real training, and what is stored."""

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from strategies import nusa
from strategies.activation_null import Plugin, Settings
from strategies.base import Unfit
from strategies.clip.weight_matrices import WeightMatrix, weight_matrices
from strategies.shared.watched import input_name
from tests.models import (
    applied,
    assert_learns_as_if_new,
    assert_resumes,
    broken_off,
    snapshot,
    tiny_classifier,
    tiny_experiences,
    tiny_images,
    tiny_template,
    vit_b_16,
)
from tests.strategies.shared.test_watched import seen_by_torch


ALL = ("q", "k", "v", "o", "fc", "proj")


def inputs_of(classifier: Any, task: int = 0, images: Any = None) -> dict[str, torch.Tensor]:
    """The inputs (B, L, d) float64 of all matrices over a task's images (or others), all at once, and its prompts."""
    pixels = tiny_images((2, 3)[task]).images[:] if images is None else images

    def compute(other: Any) -> None:
        with torch.no_grad():
            other.encode_images(pixels.to(other.mean.device))
            other.encode_texts(other.tokens(task)[0])

    return {name: x.double() for name, x in seen_by_torch(classifier, compute).items()}


def gram(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(0, -2).T @ x.flatten(0, -2)


def least(of: torch.Tensor, count: int) -> torch.Tensor:
    """The projector (d, d) on the last `count` right singular vectors of a symmetric matrix."""
    null = torch.linalg.svd(of)[2][-count:]
    return null.T @ null


def begun(classifier: Any, **settings: Any) -> tuple[Plugin, dict[WeightMatrix, torch.Tensor]]:
    """The plugin with its updates for the first task, attached, and the weights (d_out, d_in) float64 by matrix."""
    plugin = Plugin(Settings(**settings))
    plugin.begin(classifier)
    chosen = weight_matrices(classifier.clip, matrices=plugin.settings.matrices)
    weights = {matrix: matrix.weight().detach().double() for matrix in chosen}
    template = tiny_template(classifier, [plugin])
    template.experience = tiny_experiences()[0]
    torch.manual_seed(5)
    plugin.before_train_dataset_adaptation(template)
    return plugin, weights


def projector(rows: torch.Tensor) -> torch.Tensor:
    """On the span of the rows (r, d)."""
    q = torch.linalg.qr(rows.double().T).Q
    return q @ q.T


# LoRA-Null


def test_lora_null_starts_from_the_weights_part_in_the_null_space(device: torch.device) -> None:
    classifier = tiny_classifier(device=device)
    seen = inputs_of(classifier)
    plugin, weights = begun(classifier, rank=4, alpha=3.0, matrices=ALL)
    for matrix, update in plugin.updates.items():
        x = seen[input_name(matrix)]
        divided = torch.stack([each / each.abs().max() for each in x])
        null = least(gram(divided), 4)
        if matrix.matrix == "proj":  # it has more inputs than tokens were seen, so any four unused ones will do
            null = projector(update.down)
            assert (divided @ null).abs().max() < 1e-5
        part = weights[matrix] @ null
        up, down = update.up.double(), update.down.double()
        assert (up @ down - part).norm() < 1e-3 * part.norm(), matrix.name
        assert torch.allclose(up.T @ up, down @ down.T, atol=1e-5)  # each has the roots of the singular values
        assert torch.allclose(torch.linalg.svdvals(part)[:4].double(), torch.diag(up.T @ up), atol=1e-4)
        assert (down - down @ null).norm() < 1e-3 * down.norm()
        assert update.scale == pytest.approx(3 / 2) and not update.delta().any()


def test_the_division_by_the_largest_value_matters() -> None:
    """Else the reference above would not tell."""
    x = inputs_of(tiny_classifier())["image.0.o"]
    divided = torch.stack([each / each.abs().max() for each in x])
    assert (least(gram(x), 4) - least(gram(divided), 4)).norm() > 0.02


@pytest.mark.parametrize("variant", ["lora-null", "ness", "cells"])
def test_the_function_at_the_start_is_unchanged(variant: str) -> None:
    classifier, images = tiny_classifier(), tiny_images(2).images[:]
    with torch.no_grad():
        before = classifier(images, 0)
    plugin, _ = begun(classifier, rank=4, variant=variant, dropout=0.5)
    assert all(not update.delta().any() for update in plugin.updates.values())  # not one bit
    assert not any(
        applied(update.train(), torch.randn(3, update.down.shape[1])).any() for update in plugin.updates.values()
    )
    with torch.no_grad():
        assert torch.allclose(classifier(images, 0), before, atol=1e-4)


def trained(classifier: Any, plugin: Plugin, task: int = 0, **changes: Any) -> dict[WeightMatrix, Any]:
    """Trains a task; returns by matrix the update's frozen factors, and the change of the weight (d_out, d_in) float64."""
    matrices = weight_matrices(classifier.clip, matrices=plugin.settings.matrices)
    before = {matrix: matrix.weight().detach().double() for matrix in matrices}
    held: dict[WeightMatrix, Any] = {}

    def note() -> None:
        for matrix, update in plugin.updates.items():
            held.setdefault(matrix, (update.up.detach().clone(), update.down.detach().clone()))
            assert torch.equal(held[matrix][1], update.down)
            assert {name for name, _ in update.named_parameters()} == {"core" if update.core is not None else "up"}

    settings = {"lr": 0.03, "on_step": note, **changes}
    tiny_template(classifier, [plugin], **settings).train(tiny_experiences()[task])
    return {
        matrix: (*held[matrix], matrix.weight().detach().double() - before[matrix])
        for matrix in matrices
        if matrix in held
    }


@pytest.mark.parametrize("settings", [{}, {"variant": "cells", "right": "activation", "rho": 0.5}])
def test_after_training_the_change_lies_in_the_null_space_of_the_inputs(
    settings: dict[str, Any], device: torch.device
) -> None:
    classifier = tiny_classifier(device=device)
    plugin = Plugin(Settings(rank=4, **settings))
    plugin.begin(classifier)
    for _, down, delta in trained(classifier, plugin).values():
        assert delta.norm() > 0.1
        leak = (delta - delta @ projector(down)).norm() / delta.norm()
        assert leak < 1e-6  # 0 but for the rounding of the merged weight


def test_auxiliary_images_take_the_place_of_the_tasks() -> None:
    plugin = Plugin(Settings(rank=4, calibration="auxiliary", towers="image"))
    assert plugin.reads == ("images",) and Plugin(Settings()).reads == ()
    classifier = tiny_classifier()
    others = torch.randint(0, 256, (9, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(8))
    seen = inputs_of(classifier, images=others)["image.1.qkv"]
    plugin.reference_images = others
    (_, down, _), *_ = [found for matrix, found in trained(classifier, plugin).items() if matrix.name == "image.1.k"]
    null = least(gram(torch.stack([each / each.abs().max() for each in seen])), 4)
    assert (down.double() - down.double() @ null).norm() < 1e-3 * down.norm()


def test_so_many_images_are_looked_at() -> None:
    def first(samples: int | None) -> torch.Tensor:
        plugin, _ = begun(tiny_classifier(), rank=4, samples=samples)
        return next(iter(plugin.updates.values())).down

    assert torch.equal(first(None), first(12)) and torch.equal(first(12), first(256))
    assert not torch.allclose(first(5).abs(), first(12).abs(), atol=1e-2)


# NESS


def test_ness_trains_everything_first_and_then_where_earlier_inputs_are_small(device: torch.device) -> None:
    classifier = tiny_classifier(device=device)
    plugin = Plugin(Settings(variant="ness", eps=0.02, rank=2))  # a rank has no part in it
    plugin.begin(classifier)
    first = trained(classifier, plugin, lr=1e-3)
    assert plugin.notes == []
    for up, down, delta in first.values():
        assert torch.equal(down, torch.eye(len(down), device=device)) and up.shape == delta.shape
        assert torch.linalg.matrix_rank(delta) == len(delta)
    seen = inputs_of(classifier)
    for name, stored in plugin.state_dict().items():
        assert stored.dtype == torch.float32
        assert torch.allclose(stored.double(), gram(seen[name]).cpu(), rtol=1e-4, atol=1e-3)
    second = trained(classifier, plugin, task=1, lr=1e-3)
    sizes = set()
    for matrix, (up, down, delta) in second.items():
        g = gram(seen[input_name(matrix)])
        sigma = torch.linalg.svdvals(g).sqrt()
        count = int((sigma <= 0.02 * sigma.sum()).sum())
        assert up.shape[1] == len(down) == count
        sizes.add(count)
        null = least(g, count)
        assert (down.double() - down.double() @ null).norm() < 1e-2 * down.norm()
        # The leak is 0 but for the rounding of the merged weight.
        assert (delta - delta @ projector(down)).norm() < 1e-5
        assert delta.norm() > 1e-3
    assert len(sizes) > 2 and max(sizes) < 32
    both = {name: gram(x) for name, x in inputs_of(classifier, task=1).items()}
    for name, stored in plugin.state_dict().items():  # those of the first task stay as they were seen
        total = gram(seen[name]) + both[name]
        assert torch.allclose(stored.double(), total.cpu(), rtol=1e-3, atol=1e-2), name


def test_ness_with_nothing_left_says_so_and_clamps_what_rounding_makes_negative() -> None:
    classifier, plugin = tiny_classifier(), Plugin(Settings(variant="ness"))
    plugin.begin(classifier)
    names = {input_name(matrix): matrix.weight().shape[1] for matrix in weight_matrices(classifier.clip)}
    plugin.grams = {name: torch.eye(size) for name, size in names.items()}
    values = torch.ones(32)
    values[:3] = torch.tensor([-1e-4, 0.0, 1e-12])
    plugin.grams["image.1.qkv"] = torch.diag(values)
    before = snapshot(classifier.clip)
    found = trained(classifier, plugin)
    assert {matrix.name for matrix in found} == {f"image.1.{letter}" for letter in "qkv"}
    assert "text.0.o: no direction left in which earlier inputs are small, skipped" in plugin.notes
    assert len(plugin.notes) == 9
    for up, down, delta in found.values():
        assert up.shape[1] == 3 and not down[:, 3:].any() and delta[:, :3].any() and not delta[:, 3:].any()
    rows = classifier.clip.transformer.resblocks[0].attn.in_proj_weight
    assert torch.equal(rows, before["transformer.resblocks.0.attn.in_proj_weight"])


def test_ness_resumes_bit_for_bit_and_the_others_store_nothing() -> None:
    plugin, other = (Plugin(Settings(variant="ness", eps=0.02)) for _ in range(2))
    assert_resumes(plugin, other)
    for variant in ("lora-null", "cells"):
        plugin = Plugin(Settings(variant=variant, rank=2))  # type: ignore[arg-type]
        trained(tiny_classifier(), plugin)
        assert plugin.state_dict() == {}


def test_the_sums_of_vit_b_16_take_the_stated_storage() -> None:
    """By a rule that holds on a small model after a task."""

    def sums(clip: Any) -> dict[str, int]:
        return {input_name(matrix): 4 * matrix.weight().shape[1] ** 2 for matrix in weight_matrices(clip)}

    classifier, plugin = tiny_classifier(), Plugin(Settings(variant="ness"))
    trained(classifier, plugin)
    assert {name: each.nbytes for name, each in plugin.state_dict().items()} == sums(classifier.clip)
    assert sum(sums(vit_b_16()).values()) == 81_788_928


# The cells


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_weight_and_weight_is_nusa_bit_for_bit(dropout: float) -> None:
    common: dict[str, Any] = {"rank": 5, "rho": 0.6, "alpha": 3.0, "dropout": dropout, "matrices": ALL}
    ends = []
    for plugin in (Plugin(Settings(variant="cells", **common)), nusa.Plugin(nusa.Settings(**common))):
        classifier = tiny_classifier()
        plugin.begin(classifier)
        template = tiny_template(classifier, [plugin])
        for experience in tiny_experiences():
            template.train(experience)
        ends.append((snapshot(classifier.clip), plugin.rho, plugin.notes))
    (first, *rest), (second, *others) = ends
    assert rest == others
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def outputs_gradients(classifier: Any) -> dict[str, torch.Tensor]:
    """The sum over tokens of g g^T, float64, of `o`, `fc` and `proj`, over the first task's images in one batch."""
    other, found = copy.deepcopy(classifier), {}
    kept: dict[str, torch.Tensor] = {}

    def note(name: str) -> Any:
        def hook(_: Any, inputs: Any, output: torch.Tensor) -> None:
            output.retain_grad()
            kept[name] = output

        return hook

    for tower, blocks in (
        ("image", other.clip.visual.transformer.resblocks),
        ("text", other.clip.transformer.resblocks),
    ):
        for index, block in enumerate(blocks):
            block.attn.out_proj.register_forward_hook(note(f"{tower}.{index}.o"))
            block.mlp.c_fc.register_forward_hook(note(f"{tower}.{index}.fc"))
            block.mlp.c_proj.register_forward_hook(note(f"{tower}.{index}.proj"))
    data = tiny_images(2)
    F.cross_entropy(other(data.images[:], 0), torch.tensor(data.targets)).backward()
    for name, output in kept.items():
        assert output.grad is not None
        found[name] = gram(output.grad.double())
    return found


RIGHTS, LEFTS = ("weight", "activation", "random"), ("weight", "gradient", "random")


@pytest.mark.parametrize("left", LEFTS)
@pytest.mark.parametrize("right", RIGHTS)
def test_each_cell_has_the_bases_it_names_and_nusas_rank(right: str, left: str) -> None:
    classifier = tiny_classifier()
    seen, back = inputs_of(classifier), outputs_gradients(classifier)
    plugin, weights = begun(
        classifier, variant="cells", right=right, left=left, rank=6, rho=0.6, alpha=3.0, matrices=("o", "fc", "proj")
    )
    for matrix, update in plugin.updates.items():
        u, s, vh = torch.linalg.svd(weights[matrix], full_matrices=False)
        principal = next(k for k in range(1, len(s)) if s[:k].square().sum() >= 0.6 * s.square().sum())
        rank = min(len(s) - principal, 6)
        up, down = update.up.double(), update.down.double()
        assert update.core is not None and update.core.shape == (rank, rank) and not update.core.any()
        assert update.scale == pytest.approx(3 / math.sqrt(6))
        identity = torch.eye(rank, dtype=torch.float64)
        assert torch.allclose(up.T @ up, identity, atol=1e-5) and torch.allclose(down @ down.T, identity, atol=1e-5)
        own = vh[-rank:].T @ vh[-rank:], u[:, -rank:] @ u[:, -rank:].T
        x, g = gram(seen[input_name(matrix)]), back[matrix.name]
        used = {"weight": own[0], "activation": least(x, rank)}
        moved = {"weight": own[1], "gradient": least(g, rank)}
        if right == "activation":  # where the spectrum is flat, another basis is as good
            assert (down @ x @ down.T).trace() <= (least(x, rank) @ x).trace() + 1e-5 * x.trace()
        elif right == "weight":
            assert torch.allclose(down.T @ down, used[right], atol=1e-3)
        else:
            assert all((down.T @ down - each).norm() > 0.5 for each in used.values())
        if left == "gradient":
            assert (up.T @ g @ up).trace() <= (least(g, rank) @ g).trace() + 1e-5 * g.trace()
        elif left == "weight":
            assert torch.allclose(up @ up.T, moved[left], atol=1e-3)
        else:
            assert all((up @ up.T - each).norm() > 0.5 for each in moved.values())


@pytest.mark.parametrize("left", LEFTS)
def test_only_m_learns_and_the_change_lies_within_both_bases(left: str) -> None:
    classifier = tiny_classifier()
    plugin = Plugin(Settings(variant="cells", right="activation", left=left, rank=4, rho=0.5))  # type: ignore[arg-type]
    for up, down, delta in trained(classifier, plugin).values():
        assert delta.norm() > 0.1
        assert (delta - projector(up.T) @ delta @ projector(down)).norm() < 1e-6 * delta.norm()


def test_a_random_basis_is_another_for_each_task_and_the_same_for_a_seed() -> None:
    def downs() -> list[torch.Tensor]:
        classifier, found = tiny_classifier(), []
        plugin = Plugin(Settings(variant="cells", right="random", rank=4, rho=0.5))
        for task in range(2):
            found += [down for _, down, _ in trained(classifier, plugin, task).values()]
        return found

    first, again = downs(), downs()
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({float(down[0, 0]) for down in first}) == len(first) == 24


# All


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"calibration": "auxiliary"}, "--calibration: the cells look at images' inputs with --right activation alone"),
        ({"calibration": "auxiliary", "right": "random", "left": "gradient"}, "--calibration: "),
        ({"samples": 8, "right": "random"}, "--samples: these cells look at no images; leave it out"),
    ],
)
def test_images_at_which_no_side_of_the_cells_looks_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(Unfit) as error:
        Plugin(Settings(variant="cells", **wrong)).begin(tiny_classifier())
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    "wrong",
    [{"variant": "lora_null"}, {"eps": 0}, {"rho": 1.0}, {"right": "gradient"}, {"left": "activation"}, {"samples": 0}],
)
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_no_null_direction_and_a_rank_that_is_cut_are_said() -> None:
    classifier = tiny_classifier()
    with torch.no_grad():
        weight_matrices(classifier.clip, "image", ("o",))[1].weight().copy_(torch.eye(32))  # every direction is needed
    plugin = Plugin(Settings(variant="cells", rank=32, rho=0.99, left="random"))
    trained(classifier, plugin)
    assert "image.1.o: no null direction left, skipped" in plugin.notes
    assert plugin.notes[-1].startswith("rank 32 is cut to ") and plugin.notes[-1].endswith("no more null directions")


@pytest.mark.parametrize("variant", ["lora-null", "ness", "cells"])
def test_a_task_that_broke_off_leaves_the_weights_alone(variant: str) -> None:
    settings: dict[str, Any] = {"variant": variant, "rank": 4}
    if variant == "cells":
        settings |= {"right": "activation", "left": "gradient", "rho": 0.5}
    plugin = Plugin(Settings(**settings))
    assert_learns_as_if_new(broken_off(plugin), plugin, Plugin(Settings(**settings)))


@pytest.mark.slow
def test_trained_parameters_on_vit_b_16_are_half_of_loras_and_in_the_cells_nusas() -> None:
    import open_clip

    clip = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False)
    matrices = weight_matrices(clip)
    for variant, expected in (("lora-null", 15_728_640 // 2), ("cells", 1_572_864)):
        plugin = Plugin(Settings(variant=variant))  # type: ignore[arg-type]
        plugin._inputs = {input_name(matrix): torch.eye(matrix.weight().shape[1]) for matrix in matrices}
        updates = [plugin.update_of(matrix) for matrix in matrices]
        assert sum(p.numel() for update in updates if update for p in update.parameters()) == expected
