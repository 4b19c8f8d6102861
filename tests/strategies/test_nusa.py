"""NuSA-CL: what learns and what does not, where the update lies, and its ablations."""

import math

import pytest
import torch
from pydantic import ValidationError

from strategies.clip.weight_matrices import weight_matrices
from strategies.numerics.subspace import decompose, energy_rank
from strategies.nusa import Plugin, Settings
from tests.models import snapshot, tiny_classifier, tiny_experiences, tiny_template


def test_m_learns_while_u_v_and_w_stay(device: torch.device) -> None:
    classifier = tiny_classifier(device=device)
    plugin = Plugin(Settings(rank=4, rho=0.5))
    seen: dict[str, torch.Tensor] = {}

    class Spy(Plugin):
        def before_backward(self, strategy: object, **kwargs: object) -> None:
            for site, update in plugin.updates.items():
                for name in ("up", "down", "core"):
                    seen.setdefault(f"{site.name}.{name}", getattr(update, name).detach().clone())

        def before_train_dataset_adaptation(self, strategy: object, *args: object, **kwargs: object) -> None: ...

        def after_training_exp(self, strategy: object, *args: object, **kwargs: object) -> None:
            for site, update in plugin.updates.items():
                assert torch.equal(update.up, seen[f"{site.name}.up"])
                assert torch.equal(update.down, seen[f"{site.name}.down"])
                assert not seen[f"{site.name}.core"].any()  # from zero
                assert update.core is not None and update.core.any()
            frozen = {name.replace(".base", ""): tensor for name, tensor in snapshot(classifier.clip).items()}
            assert all(torch.equal(tensor, frozen[name]) for name, tensor in before.items())

    before = snapshot(classifier.clip)
    template = tiny_template(classifier, [Spy(Settings()), plugin])
    template.train(tiny_experiences()[0])
    assert seen
    assert template.trained_count == sum(seen[name].numel() for name in seen if name.endswith("core"))
    changed = {name for name, tensor in snapshot(classifier.clip).items() if not torch.equal(tensor, before[name])}
    assert all("attn.in_proj_weight" in name or "attn.out_proj.weight" in name for name in changed)
    assert len(changed) == 2 * 3  # three blocks in all


def test_the_update_lies_in_the_smallest_directions_of_the_weight_before(device: torch.device) -> None:
    classifier = tiny_classifier(device=device)
    found = weight_matrices(classifier.clip)
    before = {site: site.weight().detach().clone() for site in found}
    tiny_template(classifier, [Plugin(Settings(rank=5, rho=0.5))]).train(tiny_experiences()[0])
    for site in found:
        decomposition = decompose(before[site])
        k = energy_rank(decomposition.s, 0.5)
        rank = min(len(decomposition.s) - k, 5)
        delta = site.weight().detach() - before[site]
        outside_u, outside_v = decomposition.u[:, :-rank], decomposition.vh[:-rank]
        assert delta.norm() > 1e-3
        assert (outside_u.T @ delta).abs().max() < 1e-5
        assert (delta @ outside_v.T).abs().max() < 1e-5


def test_scaling_uses_the_configured_rank_also_where_fewer_directions_are_left(device: torch.device) -> None:
    update = Plugin(Settings(rank=9, rho=0.5, alpha=3)).make_update(torch.randn(10, 10).to(device))
    assert update is not None and update.core is not None
    assert update.core.shape[0] < 9
    assert update.scale == pytest.approx(3 / math.sqrt(9))


def test_a_matrix_without_null_directions_is_skipped_and_said_so(device: torch.device) -> None:
    classifier = tiny_classifier(device=device)
    with torch.no_grad():
        weight_matrices(classifier.clip, "image", ("o",))[1].weight().copy_(torch.eye(32))  # every direction is needed
    plugin = Plugin(Settings(rank=4, rho=0.99))
    tiny_template(classifier, [plugin]).train(tiny_experiences()[0])
    assert "image.1.o: no null direction left, skipped" in plugin.notes
    assert torch.equal(weight_matrices(classifier.clip, "image", ("o",))[1].weight(), torch.eye(32, device=device))


@pytest.mark.parametrize(
    ("trained", "factors"), [("M", {"core"}), ("M+V", {"core", "down"}), ("M+U+V", {"core", "up", "down"})]
)
def test_the_factors_that_learn_are_a_setting(trained: str, factors: set[str]) -> None:
    update = Plugin(Settings(rank=2, rho=0.5, trained=trained)).make_update(torch.randn(6, 6))  # type: ignore[arg-type]
    assert update is not None
    assert {name for name, _ in update.named_parameters()} == factors


def test_towers_and_matrices_are_settings(device: torch.device) -> None:
    classifier = tiny_classifier(device=device)
    before = snapshot(classifier.clip)
    settings = Settings(rank=2, rho=0.5, towers="text", matrices=("v", "fc"))
    tiny_template(classifier, [Plugin(settings)]).train(tiny_experiences()[0])
    changed = {name for name, tensor in snapshot(classifier.clip).items() if not torch.equal(tensor, before[name])}
    assert changed == {"transformer.resblocks.0.attn.in_proj_weight", "transformer.resblocks.0.mlp.c_fc.weight"}
    rows = before["transformer.resblocks.0.attn.in_proj_weight"]
    q_and_k = classifier.clip.transformer.resblocks[0].attn.in_proj_weight[:48]
    assert torch.equal(q_and_k, rows[:48])


def test_a_task_that_broke_off_leaves_nothing_behind(device: torch.device) -> None:
    classifier = tiny_classifier(device=device)
    plugin = Plugin(Settings(rank=4, rho=0.5))

    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    template = tiny_template(classifier, [plugin], on_step=stop)
    with pytest.raises(Stop):
        template.train(tiny_experiences()[0])
    fresh = tiny_classifier(device=device)
    tiny_template(classifier, [plugin]).train(tiny_experiences()[0])
    tiny_template(fresh, [Plugin(Settings(rank=4, rho=0.5))]).train(tiny_experiences()[0])
    assert all(torch.equal(t, fresh.clip.state_dict()[n]) for n, t in classifier.clip.state_dict().items())
    assert classifier.clip.token_embedding.weight.requires_grad


@pytest.mark.parametrize("wrong", [{"rho": 1.0}, {"rho": 0.0}, {"rank": 0}, {"directions": "bottom"}, {"dropout": 1.0}])
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)  # type: ignore[arg-type]


@pytest.mark.slow
def test_trained_parameters_on_vit_b_16_are_the_published_ones() -> None:
    import open_clip

    clip = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False)
    plugin = Plugin(Settings())
    updates = [plugin.make_update(site.weight()) for site in weight_matrices(clip)]
    assert sum(p.numel() for update in updates if update for p in update.parameters()) == 1_572_864
