"""OPLoRA: what stays of the weight to the last digits, float64 references, and how many triplets are preserved."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from strategies.base import Unfit
from strategies.clip.weight_matrices import weight_matrices
from strategies.numerics.subspace import energy_rank
from strategies.oplora import Plugin, Settings
from strategies.shared.low_rank import adapted, attach, merge
from strategies.shared.settings import Matrix
from tests.models import snapshot, tiny_classifier, tiny_experiences, tiny_template


ALL: tuple[Matrix, ...] = ("q", "k", "v", "o", "fc", "proj")


def triplets(weight: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The largest singular triplets of a weight, float64: u (d_out, count), s (count,), v (d_in, count)."""
    u, s, vh = torch.linalg.svd(weight.double(), full_matrices=False)
    return u[:, :count], s[:count], vh[:count].T


def moved_update(plugin: Plugin, weight: torch.Tensor) -> Any:
    """The update of a weight with both factors away from their start."""
    update = plugin.make_update(weight)
    assert update is not None
    torch.nn.init.normal_(update.up)
    return update


def test_adams_steps_leave_the_preserved_triplets_to_rounding(device: torch.device) -> None:
    classifier = tiny_classifier(device=device)
    before = {site: site.weight().detach().clone() for site in weight_matrices(classifier.clip, "both", ALL)}
    plugin = Plugin(Settings(rank=3, preserved=10, matrices=ALL))
    template = tiny_template(classifier, [plugin], lr=0.1, iterations=12)
    template.train(tiny_experiences()[0])
    for site, weight in before.items():
        u, s, v = triplets(weight, 10)
        after = site.weight().detach().double()
        delta, size = after - weight.double(), weight.double().norm()
        assert delta.norm() > 0.1 * size and torch.linalg.matrix_rank(delta, rtol=1e-4) == 3
        assert (after @ v - u * s).norm() < 1e-5 * size and (u.T @ after - s[:, None] * v.T).norm() < 1e-5 * size
        assert (u @ (u.T @ delta)).norm() < 1e-5 * delta.norm() and (delta @ v @ v.T).norm() < 1e-5 * delta.norm()
    assert template.trained_count == sum(3 * sum(weight.shape) for weight in before.values())


def test_the_trained_factors_alone_would_not() -> None:
    classifier, leaks = tiny_classifier(), []
    plugin = Plugin(Settings(rank=3, preserved=10))

    def note() -> None:
        for update in plugin.updates.values():
            delta = update.up.detach() @ update.down.detach()  # without the projection
            leaks.append(float((update.u.T @ delta).norm() / delta.norm()))  # type: ignore[operator,union-attr]

    tiny_template(classifier, [plugin], lr=0.1, iterations=4, on_step=note).train(tiny_experiences()[0])
    assert max(leaks) > 0.1


@pytest.mark.parametrize("shape", [(9, 7), (7, 9), (8, 8)])
@pytest.mark.parametrize("tokens", [3, 40])
def test_forward_and_gradients_are_the_formula_in_float64(shape: tuple[int, int], tokens: int) -> None:
    torch.manual_seed(0)
    weight, x, at = torch.randn(shape), torch.randn(tokens, shape[1]).double(), torch.randn(tokens, shape[0]).double()
    x.requires_grad_(True)
    update = moved_update(Plugin(Settings(rank=2, alpha=3, dropout=0.0, preserved=4)), weight).double()
    u, _, v = triplets(weight, 4)
    left, right = torch.eye(shape[0]).double() - u @ u.T, torch.eye(shape[1]).double() - v @ v.T
    delta = 3 / math.sqrt(2) * left @ update.up.detach() @ update.down.detach() @ right
    assert torch.allclose(update.delta(), delta, atol=1e-5)
    out = adapted(x, weight.double(), None, {0: update})
    assert torch.allclose(out, x @ (weight.double() + delta).T, atol=1e-5)
    found = torch.autograd.grad(out, [update.up, update.down, x], at)
    of_delta = at.T @ x.detach()
    expected = (
        3 / math.sqrt(2) * left @ of_delta @ right @ update.down.detach().T,
        3 / math.sqrt(2) * update.up.detach().T @ left @ of_delta @ right,
        at @ (weight.double() + delta),
    )
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(found, expected, strict=True))


def test_the_update_starts_at_zero_and_trains_both_factors(device: torch.device) -> None:
    update = Plugin(Settings(rank=3, preserved=2)).make_update(torch.randn(8, 5).to(device))
    assert update is not None and not update.delta().any()
    assert {name for name, _ in update.named_parameters()} == {"down", "up"}
    assert update.down.shape == (3, 5) and 0 < update.down.abs().max() <= 1 / 5**0.5


@pytest.mark.parametrize("rho", [0.3, 0.9])
def test_without_a_count_the_energy_decides_as_for_nusa(rho: float) -> None:
    torch.manual_seed(1)
    weight = torch.randn(12, 9)
    plugin = Plugin(Settings(rank=20, rho=rho))
    update: Any = plugin.make_update(weight)
    kept = energy_rank(torch.linalg.svdvals(weight.double()), rho)
    assert update.u.shape == (12, kept) and update.vh.shape == (kept, 9) and len(update.down) == 9 - kept
    u, _, v = triplets(weight, kept)
    assert torch.allclose(update.u.double() @ update.u.double().T, u @ u.T, atol=1e-5)
    assert torch.allclose(update.vh.double().T @ update.vh.double(), v @ v.T, atol=1e-5)
    assert plugin.rho == rho and plugin.decomposition_seconds > 0


def test_a_count_is_taken_whatever_the_energy() -> None:
    update: Any = Plugin(Settings(rank=2, preserved=4, rho=0.01)).make_update(torch.randn(9, 7))
    assert update.u.shape == (9, 4) and update.vh.shape == (4, 7)


def test_the_preserved_bases_do_not_hold_the_whole_decomposition() -> None:
    update: Any = Plugin(Settings(rank=2, preserved=2)).make_update(torch.randn(9, 7))
    assert all(len(each.untyped_storage()) == each.nbytes for each in (update.u, update.vh))


def test_what_is_merged_is_what_was_computed() -> None:
    classifier, plugin = tiny_classifier().eval(), Plugin(Settings(rank=3, preserved=6, matrices=ALL))
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)

    def features() -> torch.Tensor:
        with torch.no_grad():
            return torch.cat([classifier.encode_images(images), classifier.training_features(0)])

    before, names = features(), snapshot(classifier.clip).keys()
    updates = {
        site: moved_update(plugin, site.weight().detach()).eval()
        for site in weight_matrices(classifier.clip, "both", ALL)
    }
    attach(updates)
    moved = features()
    merge(classifier.clip, updates)
    assert (moved - before).abs().max() > 1e-2
    assert (features() - moved).abs().max() < 1e-5 and snapshot(classifier.clip).keys() == names


def test_under_bfloat16_the_factors_are_projected_in_float32() -> None:
    update = moved_update(Plugin(Settings(rank=2, preserved=4, dropout=0.0)), torch.randn(9, 7))
    with torch.autocast("cpu", torch.bfloat16):
        ((_, (down, _, up)),) = update.terms(0)
    assert down.dtype == up.dtype == torch.float32
    assert (update.u.T @ up).abs().max() < 1e-5 and (down @ update.vh.T).abs().max() < 1e-5


def test_a_rank_beyond_the_complement_is_cut_and_said() -> None:
    plugin = Plugin(Settings(rank=20, preserved=14))
    tiny_template(tiny_classifier(), [plugin]).train(tiny_experiences()[0])
    assert plugin.notes == [
        "rank 20 is cut to 10 to 18 in 12 of 12 matrices, which have no more directions besides the preserved ones"
    ]


def test_where_all_energy_is_preserved_the_matrix_is_left_out_and_said() -> None:
    classifier, plugin = tiny_classifier(), Plugin(Settings(rank=4, rho=1 - 1e-12, towers="text", matrices=("q", "k")))
    before = snapshot(classifier.clip)
    tiny_template(classifier, [plugin]).train(tiny_experiences()[0])
    assert plugin.notes == [f"text.0.{matrix}: all directions are preserved, skipped" for matrix in "qk"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in snapshot(classifier.clip).items())


@pytest.mark.parametrize("preserved", [24, 500])
def test_a_count_of_all_directions_is_refused(preserved: int) -> None:
    message = f"--preserved: must be below 24, the number of singular directions of text.0.q, got {preserved}"
    with pytest.raises(Unfit, match=message):
        Plugin(Settings(preserved=preserved)).begin(tiny_classifier())
    Plugin(Settings(preserved=23)).begin(tiny_classifier())
    Plugin(Settings(preserved=24, towers="image")).begin(tiny_classifier())  # whose matrices have 32


def test_the_next_task_decomposes_what_was_merged() -> None:
    classifier, plugin = tiny_classifier(), Plugin(Settings(rank=3, preserved=5))
    seen: list[dict[str, torch.Tensor]] = []

    def note() -> None:
        if template.clock.train_exp_iterations == 0:
            seen.append({site.name: update.u.clone() for site, update in plugin.updates.items()})  # type: ignore[operator]

    template = tiny_template(classifier, [plugin], lr=0.1, on_step=note)
    template.train(tiny_experiences()[0])
    site = weight_matrices(classifier.clip)[0]
    u, _, _ = triplets(site.weight().detach(), 5)
    template.train(tiny_experiences()[1])
    first, second = (each[site.name].double() for each in seen)
    assert torch.allclose(second @ second.T, u @ u.T, atol=1e-4) and not torch.allclose(
        first @ first.T, u @ u.T, atol=1e-2
    )
    assert plugin.state_dict() == {}


def test_a_run_that_was_killed_goes_on_with_the_same_bits() -> None:
    straight, settings = tiny_classifier(), Settings(rank=3, preserved=5)
    template = tiny_template(straight, [Plugin(settings)])
    template.train(tiny_experiences()[0])
    weights = snapshot(straight.clip)
    template.train(tiny_experiences()[1])
    resumed, plugin = tiny_classifier(seed=3), Plugin(settings)
    resumed.clip.load_state_dict(weights)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny_template(resumed, [plugin], on_step=stop).train(tiny_experiences()[1])
    tiny_template(resumed, [plugin]).train(tiny_experiences()[1])
    assert all(torch.equal(t, resumed.clip.state_dict()[n]) for n, t in straight.clip.state_dict().items())


@pytest.mark.parametrize("wrong", [{"preserved": 0}, {"rho": 1.0}, {"rho": 0.0}])
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)  # type: ignore[arg-type]


@pytest.mark.slow
def test_trained_parameters_on_vit_b_16_are_loras() -> None:
    import open_clip

    clip = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False)
    plugin = Plugin(Settings(preserved=64))
    updates = [plugin.make_update(site.weight()) for site in weight_matrices(clip)]
    assert sum(p.numel() for update in updates if update for p in update.parameters()) == 15_728_640
