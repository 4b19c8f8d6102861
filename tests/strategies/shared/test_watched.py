"""What is seen of weight matrices: against hooks on an untouched copy, and that the model stays as it was."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from strategies.clip.attention import SelfAttention
from strategies.clip.classifier import ClipClassifier
from strategies.clip.weight_matrices import weight_matrices
from strategies.shared.passes import batches, encode_prompts, mean_gradients
from strategies.shared.watched import Grams, SlotMeans, input_name, watched_gradients, watched_inputs
from tests.models import snapshot, tiny_classifier, tiny_experiences, tiny_images, tiny_template


ALL = ("q", "k", "v", "o", "fc", "proj")


def seen_by_torch(classifier: ClipClassifier, compute: Callable[[ClipClassifier], Any]) -> dict[str, torch.Tensor]:
    """The inputs (B, L, d) of all matrices: of `qkv` and `fc` the layer norms' outputs, of `proj` GELU's."""
    other, found = copy.deepcopy(classifier), {}

    def note(name: str, incoming: bool = False) -> Any:
        def hook(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            found[name] = (inputs[0] if incoming else output).detach()

        return hook

    for tower, blocks in (
        ("image", other.clip.visual.transformer.resblocks),
        ("text", other.clip.transformer.resblocks),
    ):
        for index, block in enumerate(blocks):
            name = f"{tower}.{index}"
            block.ln_1.register_forward_hook(note(f"{name}.qkv"))
            block.ln_2.register_forward_hook(note(f"{name}.fc"))
            block.mlp.gelu.register_forward_hook(note(f"{name}.proj"))
            block.attn.out_proj.register_forward_hook(note(f"{name}.o", incoming=True))
    compute(other)
    return found


def compute(classifier: ClipClassifier) -> torch.Tensor:
    with torch.no_grad():
        images = classifier.encode_images(tiny_images(3).images[:].to(classifier.mean.device))
        return torch.cat([images, classifier.encode_texts(classifier.tokens(1)[0])])


def test_inputs_are_those_of_all_tokens_and_nothing_changes(device: torch.device) -> None:
    classifier = tiny_classifier(device=device)
    before, expected = compute(classifier), seen_by_torch(classifier, compute)
    modules = [(module, type(module), set(vars(module))) for module in classifier.clip.modules()]
    state = snapshot(classifier.clip)
    seen: dict[str, list[torch.Tensor]] = {}
    with watched_inputs(weight_matrices(classifier.clip, matrices=ALL), lambda n, x: seen.setdefault(n, []).append(x)):
        assert torch.allclose(compute(classifier), before, atol=1e-6)
    assert torch.equal(compute(classifier), before)
    after = list(classifier.clip.modules())
    assert [(module, type(module), set(vars(module))) for module in after] == modules
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in after)
    assert all(torch.equal(tensor, state[name]) for name, tensor in snapshot(classifier.clip).items())
    assert set(seen) == set(expected) and len(seen) == 4 * 3
    for name, (values,) in seen.items():
        length = 16 if name.startswith("text") else 5  # padding, and the last block's other tokens
        assert values.shape[1] == length
        assert torch.allclose(values, expected[name], atol=1e-5), name


def test_only_what_is_asked_for_is_seen() -> None:
    classifier = tiny_classifier()
    seen: list[str] = []
    with watched_inputs(weight_matrices(classifier.clip, "image", ("v", "proj")), lambda name, _: seen.append(name)):
        compute(classifier)
    assert sorted(seen) == ["image.0.proj", "image.0.qkv", "image.1.proj", "image.1.qkv"]
    assert {input_name(matrix) for matrix in weight_matrices(classifier.clip, "image", ("q", "k"))} == {
        "image.0.qkv",
        "image.1.qkv",
    }


def test_an_interruption_leaves_the_model_as_it_was() -> None:
    classifier = tiny_classifier()
    attention = classifier.clip.transformer.resblocks[0].attn
    with pytest.raises(KeyboardInterrupt), watched_inputs(weight_matrices(classifier.clip), lambda name, x: None):
        assert type(attention) is not SelfAttention
        raise KeyboardInterrupt
    assert type(attention) is SelfAttention and "show" not in vars(attention)


def test_gradients_of_outputs_give_those_of_the_weights(device: torch.device) -> None:
    """Sum over tokens of g x^T is the weight's gradient, which an untouched copy computes by autograd."""
    classifier = tiny_classifier(device=device)
    matrices = weight_matrices(classifier.clip, matrices=ALL)
    images, labels = tiny_images(2).images[:].to(device), torch.arange(12, device=device) % 2
    other = copy.deepcopy(classifier)
    F.cross_entropy(other(images, 0), labels).backward()
    inputs: dict[str, torch.Tensor] = {}
    gradients: dict[str, torch.Tensor] = {}
    with watched_inputs(matrices, inputs.__setitem__):
        classifier(images, 0)
    with watched_gradients(matrices, gradients.__setitem__):
        F.cross_entropy(classifier(images, 0), labels).backward()
    assert set(gradients) == {matrix.name for matrix in matrices}
    for matrix, same in zip(matrices, weight_matrices(other.clip, matrices=ALL), strict=True):
        g, x = gradients[matrix.name].flatten(0, 1), inputs[input_name(matrix)].flatten(0, 1)
        expected = same.rows(same.parameter().grad)  # type: ignore[arg-type]
        assert torch.allclose(g.T @ x, expected, atol=1e-6, rtol=1e-3), matrix.name


def test_grams_add_up_and_slot_means_average_slot_by_slot() -> None:
    values = [torch.randn(4, 3, 5) for _ in range(7)]
    grams, means = Grams(), SlotMeans()
    for one in values:
        grams.add("a", one)
        means.add("a", one)
    tokens = torch.cat([one.flatten(0, 1) for one in values]).double()
    assert torch.allclose(grams.sums["a"], tokens.T @ tokens, rtol=1e-5, atol=1e-4)
    slots = torch.zeros(4, 3, 5, dtype=torch.float64)
    for b in range(4):
        for position in range(3):
            slots[b, position] = sum(one[b, position].double() for one in values) / 7
    assert torch.allclose(means.means["a"].double(), slots, atol=1e-6)
    assert torch.allclose(means.grams()["a"], slots.flatten(0, 1).T @ slots.flatten(0, 1), atol=1e-5)


def at_first_task(classifier: ClipClassifier) -> Any:
    template = tiny_template(classifier, [])
    template.experience = tiny_experiences()[0]
    torch.manual_seed(5)
    return template


def test_mean_gradients_are_the_means_over_batches_and_flags_stay(device: torch.device) -> None:
    classifier = tiny_classifier(device=device)
    classifier.clip.visual.proj.requires_grad_(False)
    flags = [parameter.requires_grad for parameter in classifier.clip.parameters()]
    strategy, matrices = at_first_task(classifier), weight_matrices(classifier.clip, matrices=("q", "o", "proj"))
    found = list(batches(strategy, strategy.experience.dataset, 10, whole=True))
    assert [len(batch[0]) for batch in found] == [4, 4]
    gradients = mean_gradients(strategy, matrices, found)
    assert flags == [parameter.requires_grad for parameter in classifier.clip.parameters()]
    assert all(parameter.grad is None for parameter in classifier.clip.parameters())
    other = copy.deepcopy(classifier)
    for images, labels, *_ in found:  # gradients add up in `grad`
        (F.cross_entropy(other(images.to(device), 0), labels.to(device)) / 2).backward()
    for matrix in weight_matrices(other.clip, matrices=("q", "o", "proj")):
        expected = matrix.rows(matrix.parameter().grad)  # type: ignore[arg-type]
        assert torch.allclose(gradients[matrix.name], expected, atol=1e-7, rtol=1e-4), matrix.name


def test_batches_keep_a_short_one_where_there_is_no_other_or_it_is_asked_for() -> None:
    strategy = at_first_task(tiny_classifier())
    data = strategy.experience.dataset  # 12 images, in batches of 4

    def sizes(samples: int | None, whole: bool) -> list[int]:
        return [len(images) for images, *_ in batches(strategy, data, samples, whole=whole)]

    assert sizes(None, True) == sizes(100, False) == [4, 4, 4]
    assert sizes(3, True) == [3] and sizes(7, True) == [4] and sizes(7, False) == [4, 3]


def test_prompts_are_computed_at_full_length_while_they_are_watched() -> None:
    classifier = tiny_classifier()
    strategy, lengths = at_first_task(classifier), []
    with watched_inputs(weight_matrices(classifier.clip, "text"), lambda _, x: lengths.append(x.shape[:2])):
        encode_prompts(strategy)
    assert lengths == [(2, 16)] * 2
