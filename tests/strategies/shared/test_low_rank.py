"""The low-rank update inside attention and MLP: the plain formula, merging, and taking it out again."""

import pytest
import torch

from strategies.clip.weight_matrices import weight_matrices
from strategies.shared.fused_low_rank import keep
from strategies.shared.low_rank import AdaptedAttention, LowRankUpdate, attach, detach, merge
from tests.models import applied, snapshot, tiny_classifier, tiny_model


ALL = ("q", "k", "v", "o", "fc", "proj")


def random_update(weight: torch.Tensor, core: bool = True, dropout: float = 0.0) -> LowRankUpdate:
    d_out, d_in = weight.shape
    return LowRankUpdate(
        down=torch.randn(3, d_in),
        up=torch.randn(d_out, 3),
        core=torch.randn(3, 3) if core else None,
        scale=0.3,
        dropout=dropout,
        trained=("core",),
    ).to(weight.device)


def test_thin_products_equal_the_dense_update(device: torch.device) -> None:
    torch.manual_seed(0)
    for core in (True, False):
        update = random_update(torch.empty(7, 5, device=device), core=core)
        x = torch.randn(2, 4, 5).to(device)
        middle = update.core.double() if update.core is not None else torch.eye(3, dtype=torch.float64, device=device)
        dense = 0.3 * update.up.double() @ middle @ update.down.double()  # (7, 5)
        assert torch.allclose(update.delta().double(), dense, atol=1e-5)
        assert torch.allclose(applied(update, x).double(), x.double() @ dense.T, atol=1e-5)


@pytest.mark.parametrize("matrices", [ALL, ("q",), ("o",), ("k", "fc")])
def test_merged_features_equal_unmerged_ones(matrices: tuple[str, ...], device: torch.device) -> None:
    classifier = tiny_classifier(device=device).eval()
    clip = classifier.clip
    torch.manual_seed(1)
    updates = {site: random_update(site.weight()) for site in weight_matrices(clip, "both", matrices)}
    images, before = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8).to(device), snapshot(clip)

    def features() -> torch.Tensor:
        with torch.no_grad():
            return torch.cat([classifier.encode_images(images), classifier.training_features(0)])

    plain = features()
    attach(updates)
    adapted = features()
    merge(clip, updates)
    merged = features()
    assert (adapted - plain).abs().max() > 1e-2
    assert (adapted - merged).abs().max() < 1e-5
    assert snapshot(clip).keys() == before.keys()  # plain open_clip again


def test_adapted_attention_is_scaled_dot_product_attention_in_float64(device: torch.device) -> None:
    torch.manual_seed(2)
    clip = tiny_model(device=device)
    block = clip.transformer.resblocks[0]
    updates = {site: random_update(site.weight()) for site in weight_matrices(clip, "text") if site.block == 0}
    attach(updates)
    clip.double().requires_grad_(False)
    assert isinstance(block.attn, AdaptedAttention)
    x, mask = torch.randn(2, 16, 24, dtype=torch.float64).to(device), clip.attn_mask
    base, heads = block.attn.base, 2
    delta = {site.matrix: update.delta() for site, update in updates.items()}
    weights = dict(zip("qkv", base.in_proj_weight.chunk(3), strict=True))
    biases = dict(zip("qkv", base.in_proj_bias.chunk(3), strict=True))
    q, k, v = ((x @ (weights[m] + delta[m]).T + biases[m]).view(2, 16, heads, 12).permute(0, 2, 1, 3) for m in "qkv")
    scores = q @ k.transpose(-1, -2) / 12**0.5 + mask
    mixed = (scores.softmax(-1) @ v).permute(0, 2, 1, 3).reshape(2, 16, 24)
    expected = mixed @ (base.out_proj.weight + delta["o"]).T + base.out_proj.bias
    assert (block.attn(x, x, x, attn_mask=mask)[0] - expected).abs().max() < 1e-10


def test_dropout_acts_on_the_adapters_input_only_and_only_in_training(device: torch.device) -> None:
    torch.manual_seed(3)
    update = random_update(torch.empty(6, 3, device=device), dropout=0.5)
    x = torch.ones(1000, 3, device=device)
    dense = update.delta()
    assert torch.allclose(applied(update.eval(), x), x @ dense.T, atol=1e-5)
    trained = applied(update.train(), x)
    kept = torch.linalg.lstsq(dense, trained.T).solution  # (3, 1000): the inputs that the update saw
    assert set(kept.round(decimals=2).abs().unique().tolist()) == {0.0, 2.0}
    assert 0.4 < (kept.abs() > 1).float().mean() < 0.6


def test_detach_leaves_the_weights_as_they_were_and_may_be_called_twice(device: torch.device) -> None:
    clip = tiny_model(device=device)
    before = snapshot(clip)
    attach({site: random_update(site.weight()) for site in weight_matrices(clip, "both", ALL)})
    detach(clip)
    detach(clip)
    after = snapshot(clip)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_tower_that_is_no_transformer_is_refused() -> None:
    with pytest.raises(ValueError, match="image tower is no plain open_clip transformer"):
        weight_matrices(torch.nn.ModuleDict({"visual": torch.nn.Linear(2, 2)}), "image")


@pytest.mark.parametrize("core", [True, False])
def test_one_token_attends_as_all_do_with_the_same_dropout(core: bool, device: torch.device) -> None:
    torch.manual_seed(5)
    clip = tiny_model(device=device)
    places = [place for place in weight_matrices(clip, "image") if place.block == 0]
    updates = {place: random_update(place.weight(), core=core, dropout=0.25) for place in places}
    attach(updates)
    clip.double().requires_grad_(False)
    for update in updates.values():
        update.requires_grad_(True)
    attention, heads = clip.visual.transformer.resblocks[0].attn, 2
    x = torch.randn(3, 5, 32, dtype=torch.float64, device=device, requires_grad=True)
    query, keys = x[:, :1], x.clone()
    torch.manual_seed(6)
    found = attention(query, keys, keys)[0]
    torch.manual_seed(6)
    each = {update.matrix: one for update, one in updates.items()}
    masks = {name: keep(of.flatten(0, 1), 0.25).view_as(of) for name, of in (("q", query), ("k", keys), ("v", keys))}

    def projected(name: str, of: torch.Tensor) -> torch.Tensor:
        at = slice(32 * "qkv".index(name), 32 * "qkv".index(name) + 32)
        plain = of @ attention.base.in_proj_weight[at].T + attention.base.in_proj_bias[at]
        return (plain + (of * masks[name] / 0.75) @ each[name].delta().T).unflatten(-1, (heads, -1)).transpose(1, 2)

    scores = projected("q", query) @ projected("k", keys).transpose(-1, -2) / 16**0.5  # (3, heads, 1, 5)
    mixed = (scores.softmax(dim=-1) @ projected("v", keys)).transpose(1, 2).flatten(2)  # (3, 1, 32)
    kept = mixed * keep(mixed.flatten(0, 1), 0.25).view_as(mixed) / 0.75
    expected = mixed @ attention.base.out_proj.weight.T + attention.base.out_proj.bias + kept @ each["o"].delta().T
    assert (found - expected).abs().max() < 1e-10
    learned = [x, *(parameter for update in updates.values() for parameter in update.parameters())]
    ones, others = (torch.autograd.grad(out.square().sum(), learned, retain_graph=True) for out in (found, expected))
    assert len(ones) == (5 if core else 1)
    assert all((one - other).abs().max() < 1e-12 * other.abs().max() for one, other in zip(ones, others, strict=True))
