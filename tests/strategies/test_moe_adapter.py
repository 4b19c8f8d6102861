"""MoE-Adapters: gate, experts and blocks against plain references, freezing, routes that stay, and DDAS."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.module import register_module_forward_pre_hook

from strategies.base import Unfit
from strategies.clip.weight_matrices import blocks
from strategies.moe_adapter import Plugin, Settings
from strategies.shared.ddas import HIDDEN, AlexNetFeatures, AutoEncoder, decide, train_autoencoder
from strategies.shared.mixture import ORIGINAL, Expert, Mixture, attach_mixtures
from strategies.training.experiences import LabelledImages, make_benchmark
from tests.models import snapshot, tiny_classifier, tiny_experiences, tiny_images, tiny_model, tiny_template


def small(**changes: Any) -> Plugin:
    return Plugin(Settings(**{"experts": 5, "width": 4, "autoencoder_steps": 3, "reference_steps": 3, **changes}))


def randomise(module: torch.nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * 0.5)


def mixture(dropout: float = 0.0) -> Mixture:
    """Five experts of d = 6 in float64, with a router of task 0, all random."""
    made = Mixture(dim=6, experts=5, top_k=2, width=4, dropout=dropout).double()
    made.learn(0)
    randomise(made.double())
    return made


@torch.no_grad()
def reference(made: Mixture, x: Tensor, scores: Tensor) -> Tensor:
    """0.1 * sum over the two experts with the best scores (B, E) of g_e (W_up relu(W_down x + b) + b), one image at a time."""
    out = torch.zeros_like(x)
    for image, score in enumerate(scores):
        best = sorted(range(5), key=lambda e: -float(score[e]))[:2]
        powers = [float(score[e].exp()) for e in best]
        for e, power in zip(best, powers, strict=True):
            expert: Any = made.experts[e]
            hidden = (x[image] @ expert.down.weight.T + expert.down.bias).clamp(min=0)
            out[image] += 0.1 * power / sum(powers) * (hidden @ expert.up.weight.T + expert.up.bias)
    return out


def tokens() -> Tensor:
    return torch.randn(7, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def test_evaluation_mixes_the_two_best_experts_of_the_first_token() -> None:
    made, x = mixture().eval(), tokens()
    router: Any = made.routers["0"]
    expected = reference(made, x, x[:, 0] @ router.weight)
    assert torch.allclose(made.add_to(torch.ones_like(x), x), 1 + expected, atol=1e-12)
    assert expected.abs().max() > 0.01


def test_training_adds_noise_of_the_learned_size_to_the_scores() -> None:
    made, x = mixture().train(), tokens()
    router: Any = made.routers["0"]
    torch.manual_seed(5)
    noise = torch.randn(7, 5, dtype=torch.float64)
    size = (1 + (x[:, 0] @ router.noise).exp()).log() + 0.01
    expected = reference(made, x, x[:, 0] @ router.weight + noise * size)
    torch.manual_seed(5)
    assert torch.allclose(made.add_to(torch.zeros_like(x), x), expected, atol=1e-12)
    assert not torch.allclose(expected, reference(made, x, x[:, 0] @ router.weight))


def test_dropout_acts_within_the_expert_and_only_in_training() -> None:
    expert = Expert(6, 400, dropout=0.1).double()
    randomise(expert)
    x, gate = tokens(), torch.full((7, 1, 1), 0.5, dtype=torch.float64)
    hidden = (x @ expert.down.weight.T + expert.down.bias).clamp(min=0)
    torch.manual_seed(2)
    kept = F.dropout(torch.ones_like(hidden), 0.1)
    assert 0.85 < (kept > 0).double().mean() < 0.95
    torch.manual_seed(2)
    expected = 0.5 * ((hidden * kept) @ expert.up.weight.T + expert.up.bias)
    assert torch.allclose(expert.train()(x, gate), expected, atol=1e-12)
    assert torch.allclose(expert.eval()(x, gate), 0.5 * (hidden @ expert.up.weight.T + expert.up.bias), atol=1e-12)


def test_a_block_adds_the_mixture_of_what_enters_its_second_norm() -> None:
    clip = tiny_model().double().eval()
    mixtures = attach_mixtures(clip, experts=5, top_k=2, width=4, dropout=0.0).double().eval()
    block, made = blocks(clip, "image")[1], mixtures["image-1"]
    assert set(mixtures) == {"image-0", "image-1", "text-0"}
    x = torch.randn(3, 4, 32, dtype=torch.float64)
    plain = block(x)
    assert isinstance(made, Mixture)
    made.learn(0)
    made.double()
    randomise(made)
    residual = x + block.attn(*[block.ln_1(x)] * 3, need_weights=False)[0]
    router: Any = made.routers["0"]
    expected = plain + reference(made, residual, residual[:, 0] @ router.weight)
    assert torch.allclose(block(x), expected, atol=1e-12) and (expected - plain).abs().max() > 0.01
    made.route = ORIGINAL
    assert torch.equal(block(x), plain)
    assert clip.state_dict().keys() == tiny_model().state_dict().keys()


def test_only_the_chosen_experts_compute() -> None:
    made, x = mixture().train(), tokens()
    calls: dict[int, int] = {}
    for index, expert in enumerate(made.experts):
        expert.register_forward_hook(lambda _m, inputs, _o, index=index: calls.update({index: len(inputs[0])}))
    one = x[:1].requires_grad_()
    torch.manual_seed(0)
    made.add_to(torch.zeros_like(one), one).square().sum().backward()
    assert sorted(calls.values()) == [0, 0, 0, 1, 1]
    for index, expert in enumerate(made.experts):
        gradients = [parameter.grad for parameter in expert.parameters()]
        assert all(g is not None and bool(g.any()) == (calls[index] == 1) for g in gradients)
    assert made.used.tolist() == [calls[index] for index in range(5)]
    router: Any = made.routers["0"]
    assert router.weight.grad.any() and router.noise.grad.any()
    calls.clear()
    made.eval().add_to(torch.zeros_like(one), one)
    assert list(calls.values()) == [1, 1]  # without gradients the others are not even called


def test_a_mixture_starts_as_nothing() -> None:
    expert = Expert(6, 4, 0.1)
    expert.reset()
    assert not expert(torch.randn(2, 3, 6), torch.ones(2, 1, 1)).any()
    assert expert.down.weight.any() and expert.down.weight.abs().max() <= 1 / 6**0.5  # Kaiming-uniform, a = sqrt(5)
    assert not any(tensor.any() for tensor in (expert.down.bias, expert.up.weight, expert.up.bias))


def test_the_two_most_used_experts_are_frozen_for_good_and_clip_never_moves() -> None:
    classifier, plugin = tiny_classifier(), small()
    plugin.begin(classifier)
    before, experiences = snapshot(classifier.clip), tiny_experiences()
    template = tiny_template(classifier, [plugin], weight_decay=0.1)
    template.train(experiences[0])
    made: Any = plugin.mixtures["image-0"]
    assert made.used.sum() == 4 * 4 * 2  # steps, images, experts
    first = set(made.used.topk(2).indices.tolist())
    assert set(made.frozen.nonzero().flatten().tolist()) == first
    kept = {index: snapshot(made.experts[index]) for index in range(5)}
    router = snapshot(made.routers["0"])
    template.train(experiences[1])
    for index in range(5):
        same = all(torch.equal(t, kept[index][n]) for n, t in made.experts[index].state_dict().items())
        assert same == (index in first)
    assert all(torch.equal(t, router[n]) for n, t in made.routers["0"].state_dict().items())
    assert set(made.frozen.nonzero().flatten().tolist()) == first | set(made.used.topk(2).indices.tolist())
    for other in plugin.mixtures.values():
        assert 2 <= int(other.frozen.sum()) <= 4  # type: ignore[operator]
    assert all(torch.equal(tensor, before[name]) for name, tensor in snapshot(classifier.clip).items())
    trained = sum(3 * (2 * 4 * d + 4 + d) + 2 * 5 * d for d in (32, 32, 24))  # three free experts and a router a block
    assert template.trained_count == trained


def test_each_route_keeps_its_answer_where_its_experts_are_frozen_and_the_original_is_clip() -> None:
    """With two experts both are frozen after the first task: all that a route computes with stays."""
    classifier, plugin, images = tiny_classifier(), small(experts=2), tiny_images(3, seed=4).images[:]
    with torch.no_grad():
        plain = classifier.eval().union_logits(images)
    plugin.begin(classifier)
    assert torch.equal(classifier.eval().union_logits(images), plain)  # before any training
    template, answers = tiny_template(classifier, [plugin]), []
    for experience in tiny_experiences():
        template.train(experience)
        classifier.eval()
        plugin.use(0)
        with torch.no_grad():
            answers.append(classifier._route_logits(images, range(2), 0))
    assert torch.equal(answers[0], answers[1]) and (answers[0] - plain).abs().max() > 1e-3
    plugin.use(ORIGINAL)
    with torch.no_grad():
        assert torch.equal(classifier._route_logits(images, range(2), ORIGINAL), plain)


def test_a_run_that_goes_on_from_its_state_equals_one_that_was_not_stopped() -> None:
    images = tiny_images(3, seed=4).images[:]

    def start() -> tuple[Any, Plugin, Any]:
        classifier, plugin = tiny_classifier(), small(decision="image")
        plugin.reference_images = tiny_images(2, count=70, seed=8).images
        plugin.begin(classifier)
        return classifier, plugin, tiny_template(classifier, [plugin])

    experiences = tiny_experiences()
    whole, plugin, template = start()
    assert plugin.state_dict() == {}
    template.train(experiences[0])
    saved = {name: tensor.clone() for name, tensor in plugin.state_dict().items()}
    template.train(experiences[1])
    resumed, other, template = start()
    torch.randn(17)  # a process of its own has another generator
    other.load_state_dict(saved)
    template.train(experiences[1])
    state = plugin.state_dict()
    assert state.keys() == other.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in other.state_dict().items())
    assert torch.equal(whole.eval().union_logits(images), resumed.eval().union_logits(images))
    assert {name.split(".")[1] for name in state if name.startswith("autoencoders")} == {"-1", "0", "1"}
    assert whole.clip.state_dict().keys() == tiny_model().state_dict().keys()


def test_a_second_run_on_the_same_model_inherits_nothing() -> None:
    classifier, images = tiny_classifier(), tiny_images(3, seed=4).images[:]
    plain = classifier.eval().union_logits(images)
    first = small()
    first.begin(classifier)
    tiny_template(classifier, [first]).train(tiny_experiences()[0])
    second = small()
    second.begin(classifier)
    assert second.state_dict() == {}
    assert torch.equal(classifier.eval().union_logits(images), plain)
    tiny_template(classifier, [second]).train(tiny_experiences()[0])
    fresh, third = tiny_classifier(), small()
    third.begin(fresh)
    tiny_template(fresh, [third]).train(tiny_experiences()[0])
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in third.state_dict().items())


def encoders() -> dict[int, AutoEncoder]:
    made = {}
    for route in (ORIGINAL, 0, 1):
        made[route] = AutoEncoder(8).double()
        randomise(made[route], seed=route + 5)
    return made


@torch.no_grad()
def errors_of(encoder: AutoEncoder, features: Tensor) -> list[float]:
    found = []
    for x in features:
        hidden = (encoder.encode.weight @ x + encoder.encode.bias).clamp(min=0)
        y = 1 / (1 + (-(encoder.decode.weight @ hidden + encoder.decode.bias)).exp())
        found.append(float(((y - x) ** 2).mean()))
    return found


def test_ddas_decides_for_each_image_alone_or_for_the_batch_by_its_mean() -> None:
    made = encoders()
    features = torch.rand(40, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    errors = {route: errors_of(encoder, features) for route, encoder in made.items()}
    alone = [min(made, key=lambda route: errors[route][image]) for image in range(40)]
    assert set(alone) == {ORIGINAL, 0, 1}
    assert decide(made, features, "image", None, ORIGINAL).tolist() == alone
    for image in range(40):  # no other image has a say
        assert decide(made, features[image : image + 1], "image", None, ORIGINAL).item() == alone[image]
    means = {route: sum(each) / 40 for route, each in errors.items()}
    together = min(means, key=lambda route: means[route])
    assert decide(made, features, "batch", None, ORIGINAL).tolist() == [together] * 40
    # The threshold sends what nobody reconstructs to the untouched model: images one by one, or the batch.
    best = [min(errors[route][image] for route in made) for image in range(40)]
    middle = sum(sorted(best)[19:21]) / 2
    expected = [route if error <= middle else ORIGINAL for route, error in zip(alone, best, strict=True)]
    assert decide(made, features, "image", middle, ORIGINAL).tolist() == expected
    tasks = {route: made[route] for route in (0, 1)}
    lowest = min(means[0], means[1])
    assert ORIGINAL not in decide(tasks, features, "batch", lowest + 1e-9, ORIGINAL).tolist()
    assert decide(tasks, features, "batch", lowest - 1e-9, ORIGINAL).tolist() == [ORIGINAL] * 40


def test_an_autoencoder_takes_adams_steps_at_a_rate_divided_by_ten_every_ten_epochs() -> None:
    features = torch.rand(10, 8)
    batches = [features[torch.randperm(10)[:6]] for _ in range(45)]
    torch.manual_seed(0)
    expected = AutoEncoder(8)
    optimizer = torch.optim.Adam(expected.parameters(), lr=0.01, weight_decay=1e-4)
    for step, x in enumerate(batches):
        optimizer.param_groups[0]["lr"] = 0.01 / 10 ** (step // 20)  # two steps an epoch
        optimizer.zero_grad()
        out = torch.sigmoid(F.linear(F.relu(expected.encode(x)), expected.decode.weight, expected.decode.bias))
        F.mse_loss(out, x).backward()
        optimizer.step()
    torch.manual_seed(0)
    found = train_autoencoder(iter(batches), epoch=2, lr=0.01)
    assert all(torch.allclose(t, found.state_dict()[n], atol=1e-6) for n, t in expected.state_dict().items())
    assert not any(parameter.requires_grad for parameter in found.parameters())


def test_autoencoders_learn_from_all_images_of_a_task_in_every_epoch() -> None:
    classifier, plugin = tiny_classifier(), small(autoencoder_steps=4, reference_steps=2)
    plugin.begin(classifier)
    extracted: list[Tensor] = []
    learned: list[Tensor] = []
    extract = plugin.extract
    plugin.extract = lambda images: extracted.append(images) or extract(images)  # type: ignore[func-returns-value]
    data = tiny_images(2, count=130)

    def look(module: Any, inputs: tuple[Tensor]) -> None:
        if isinstance(module, torch.nn.Linear) and module.out_features == HIDDEN:
            learned.append(inputs[0])

    watching = register_module_forward_pre_hook(look)
    tiny_template(classifier, [plugin]).train(make_benchmark([data]).train_stream[0])
    watching.remove()
    assert [len(batch) for batch in learned] == [64] * 4
    once = [image.numpy().tobytes() for image in torch.cat(extracted)]
    assert sorted(once) == sorted(image.numpy().tobytes() for image in data.images[:])  # each is extracted once
    drawn = [features.numpy().tobytes() for features in torch.cat(learned)]
    assert len(set(drawn[:130])) == 130 and set(drawn[130:]) < set(drawn[:130])
    assert drawn[130:] != drawn[: 4 * 64 - 130]  # another order in the next epoch
    assert Settings().autoencoder_lr == 0.01


def test_learned_tasks_are_told_apart_and_strangers_go_to_the_untouched_clip() -> None:
    """Bright, dark and noisy images: two tasks and the reference."""

    def pixels(low: int, high: int, seed: int, count: int = 30) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(low, high, (count, 3, 16, 16), generator=generator, dtype=torch.uint8)

    labels = torch.arange(640) % 2  # ten batches an epoch: the rate is divided by ten after the training alone
    sets = [pixels(0, 20, 1, 640), pixels(230, 250, 2, 640)]
    classifier, plugin = tiny_classifier(), small(decision="image", autoencoder_steps=100, reference_steps=100)
    plugin.reference_images = pixels(0, 255, 3, 640)
    plugin.begin(classifier)
    template = tiny_template(classifier, [plugin])
    for experience in make_benchmark([LabelledImages(images, labels) for images in sets]).train_stream:
        template.train(experience)
    shown = torch.cat([pixels(0, 20, 11), pixels(230, 250, 12), pixels(0, 255, 13)])
    assert plugin.choose(shown).tolist() == [0] * 30 + [1] * 30 + [ORIGINAL] * 30
    by_batch = small(decision="batch")
    by_batch.begin(tiny_classifier())
    by_batch.load_state_dict(plugin.state_dict())
    assert by_batch.choose(shown[:40]).tolist() == [0] * 40  # thirty dark images outvote ten bright ones
    with torch.no_grad():
        plain = tiny_classifier().eval().union_logits(shown[60:])
    assert torch.allclose(classifier.eval().union_logits(shown)[60:], plain, atol=1e-5)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_alexnets_features_are_the_last_convolutions(tmp_path: Path, suffix: str) -> None:
    import torchvision
    from safetensors.torch import save_file

    network = torchvision.models.alexnet().eval()
    state = {name: tensor for name, tensor in network.state_dict().items() if name.startswith("features")}
    file = tmp_path / f"alexnet.{suffix}"
    save_file(state, file) if suffix == "safetensors" else torch.save(state, file)
    classifier = tiny_classifier()
    images = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    seen: list[Tensor] = []
    network.features[10].register_forward_hook(lambda _m, _i, out: seen.append(out.clone()))
    with torch.no_grad():
        network((images / 255 - classifier.mean) / classifier.std)
        found = AlexNetFeatures(file, classifier.mean, classifier.std)(images)
    assert found.shape == (2, 256 * 13 * 13)
    assert torch.allclose(found, 1 / (1 + (-seen[0].flatten(1)).exp()), atol=1e-6)


def test_alexnets_file_must_be_there_and_be_alexnets(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("nothing")
    torch.save({"features.0.weight": torch.zeros(2)}, tmp_path / "other.pth")
    for name, part in (
        ("absent.pth", "no such file"),
        ("text.pth", "not torchvision"),
        ("other.pth", "not torchvision"),
    ):
        with pytest.raises(OSError, match=part):
            small(alexnet=str(tmp_path / name)).begin(tiny_classifier())


def test_alexnet_wants_larger_images_than_the_tiny_models(tmp_path: Path) -> None:
    import torchvision

    torch.save(torchvision.models.alexnet().state_dict(), tmp_path / "alexnet.pth")
    with pytest.raises(Unfit, match="--alexnet: wants images of at least 31 pixels, the model's have 16"):
        small(alexnet=str(tmp_path / "alexnet.pth")).begin(tiny_classifier())


def test_published_threshold_goes_with_alexnet() -> None:
    assert small(alexnet="x").threshold == 0.0655
    assert small(alexnet="x", threshold=0.06).threshold == 0.06
    assert small().threshold is None


@pytest.mark.slow
def test_parameters_on_vit_b_16_are_the_published_ones() -> None:
    import open_clip

    clip = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False)
    settings = Settings()
    mixtures = attach_mixtures(clip, settings.experts, 2, settings.width, settings.dropout)
    assert len(mixtures) == 24
    assert sum(parameter.numel() for parameter in mixtures.parameters()) == 43_625_472
    for mixture in mixtures.values():
        for task in range(11):
            mixture.add_router(task)  # type: ignore[operator]
    assert sum(parameter.numel() for parameter in mixtures.parameters()) == 43_625_472 + 7_434_240
    assert sum(parameter.numel() for parameter in AutoEncoder(256 * 13 * 13).parameters()) == 8_696_164
