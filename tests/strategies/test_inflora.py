"""InfLoRA: the covariance of training and passes, the basis, the memory's growth and its dual, against float64 references."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from strategies.clip.weight_matrices import weight_matrices
from strategies.inflora import Plugin, Settings
from strategies.numerics.gradient_memory import GradientMemory, empty
from strategies.shared.input_covariance import InputCovariance
from tests.models import (
    assert_learns_as_if_new,
    assert_resumes,
    broken_off,
    tiny_classifier,
    tiny_experiences,
    tiny_images,
    tiny_template,
)


def inputs(count: int, size: int, seed: int) -> torch.Tensor:
    """Inputs (count, size), float64, with a falling spectrum."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    strengths = 0.6 ** torch.arange(size, dtype=torch.float64)
    return torch.randn(count, size, generator=generator, dtype=torch.float64) * strengths @ directions.T


def grown(memory: torch.Tensor, c: torch.Tensor, threshold: float) -> torch.Tensor:
    """The comparison's rule, step by step: memory (d, m) to (d, m + k), by the covariance c (d, d) of a task's inputs."""
    total = torch.linalg.svdvals(c).square().sum()
    u, s, _ = torch.linalg.svd(c - memory @ memory.T @ c)
    if memory.shape[1] == 0:
        k = 0
        while s[: k + 1].square().sum() / total < threshold:
            k += 1
        return u[:, : max(k, 1)]
    share, k = 1 - s.square().sum() / total, 0
    while share < threshold:
        share = share + s[k].square() / total
        k += 1
    return torch.cat([memory, u[:, :k]], dim=1)


def remembered(memory: GradientMemory) -> torch.Tensor:
    """Projector (d, d) on what is remembered."""
    basis = memory.basis.double()
    onto = basis @ basis.T
    return torch.eye(len(basis), dtype=torch.float64) - onto if memory.dual else onto


def test_the_memory_grows_by_the_rule_and_turns_into_its_dual() -> None:
    size, reference, memory = 12, torch.zeros(12, 0, dtype=torch.float64), empty(12)
    columns = []
    for task in range(9):
        h = inputs(40, size, seed=task)
        reference = grown(reference, h.T @ h, 0.9)
        memory = memory.extended(h.T @ h, 0.9)
        assert torch.allclose(remembered(memory), reference @ reference.T, atol=1e-5)
        m = reference.shape[1]
        columns.append(m)
        assert memory.dual == (m > size / 2)
        assert memory.basis.shape == (size, min(m, size - m)) and memory.basis.dtype == torch.float32
    assert 0 < columns[0] < size / 2 < columns[-1] < size  # both forms, and growth in both, were seen
    assert len(set(columns)) > 3


@pytest.mark.parametrize(
    "values, threshold, count", [([3, 1, 1, 1], 0.7, 1), ([3, 2, 2, 1], 0.7, 1), ([1, 1, 1, 1], 0.7, 2)]
)
def test_the_first_task_leaves_the_directions_that_stay_below_the_share(
    values: list[float], threshold: float, count: int
) -> None:
    # Squares 9 + 1 + 1 + 1: the first holds 0.75 alone, and one is kept all the same; 9 + 4 + 4 + 1: 0.5, then 0.72.
    memory = empty(4).extended(torch.diag(torch.tensor(values, dtype=torch.float64)), threshold)
    assert round(float(remembered(memory).trace())) == count


def test_a_task_that_the_memory_holds_already_changes_no_bit_of_it() -> None:
    memory = GradientMemory(torch.eye(12)[:, :3], dual=False)
    held = torch.diag(torch.tensor([9.0, 4, 4, *[0.1] * 9], dtype=torch.float64))
    assert memory.extended(held, 0.9) is memory
    assert memory.extended(7 * held, 0.9) is memory  # nor does the covariance's scale matter
    assert memory.extended(torch.eye(12), 0.9).basis.shape == (12, 1)  # 11 of 12, so 1 is free


def memory_of(tasks: int) -> GradientMemory:
    """Of the first tasks: 0 nothing remembered, 1 remembered, 5 dual."""
    memory = empty(12)
    for task in range(tasks):
        h = inputs(40, 12, seed=task)
        memory = memory.extended(h.T @ h, 0.9)
    return memory


@pytest.mark.parametrize("tasks", [0, 1, 7])
def test_the_free_directions_are_the_left_singular_vectors_of_the_rest_of_the_covariance(tasks: int) -> None:
    memory = memory_of(tasks)
    h = inputs(40, 12, seed=99)
    covariance = h.T @ h
    u, s, _ = torch.linalg.svd(covariance - remembered(memory) @ covariance)
    directions, values = memory.free(covariance)
    free = 12 - round(float(remembered(memory).trace()))
    top = min(3, free)
    assert memory.dual == (tasks == 7) and directions.shape == (12, free) and values.shape == (free,)
    assert torch.allclose(values[:top], s[:top], rtol=1e-4)
    assert torch.allclose((directions[:, :top].T @ u[:, :top]).abs(), torch.eye(top, dtype=torch.float64), atol=1e-3)
    assert torch.allclose(directions.T @ directions, torch.eye(free, dtype=torch.float64), atol=1e-5)
    assert (directions.T @ remembered(memory)).abs().max() < 1e-5
    few, _, _ = torch.linalg.svd(covariance)
    differs = not torch.allclose((directions[:, :top].T @ few[:, :top]).abs(), torch.eye(top).double(), atol=1e-2)
    assert differs == (tasks > 0)


def attention_inputs(classifier: Any) -> dict[str, list[torch.Tensor]]:
    """Records the inputs (B, L, d) of three blocks' attention as they are computed from now on, by block."""
    seen: dict[str, list[torch.Tensor]] = {"image.0": [], "image.1": [], "text.0": []}
    for name, found in seen.items():
        tower, _, block = name.partition(".")
        layers = classifier.clip.visual.transformer if tower == "image" else classifier.clip.transformer
        layers.resblocks[int(block)].ln_1.register_forward_hook(
            lambda _, __, out, found=found: found.append(out.detach())
        )
    return seen


def covariances(seen: dict[str, list[torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Returns the plain sums of x x^T over all tokens x (d,) that were seen, float64, by block."""
    flat = {name: torch.cat([h.flatten(0, 1) for h in each]).double() for name, each in seen.items()}
    return {name: h.T @ h for name, h in flat.items()}


def test_covariances_are_sums_over_every_token_and_no_hook_is_left() -> None:
    classifier = tiny_classifier()
    covariance, seen = InputCovariance(classifier.clip, ("image", "text")), attention_inputs(classifier)
    with torch.no_grad():
        classifier.encode_images(tiny_images(3).images[:])
        classifier.encode_texts(classifier.tokens(1)[0])
        expected = covariances(seen)
        covariance.weight = 3
        classifier.encode_texts(classifier.tokens(1)[0])
        covariance.stop()
        classifier.encode_images(tiny_images(2).images[:])
    assert set(covariance.sums) == set(expected)
    for name, sums in expected.items():
        times = 4 if name.startswith("text") else 1
        assert torch.allclose(covariance.sums[name], times * sums, rtol=1e-4, atol=1e-3)
    assert not any(block.attn._forward_pre_hooks for block in classifier.clip.visual.transformer.resblocks)


@pytest.mark.parametrize("samples", [None, 7])
def test_the_memory_is_of_the_training_and_of_a_pass_after_it(samples: int | None) -> None:
    """Against the formula: C is over all steps, all positions, and one more pass in which prompts come with each batch."""
    classifier, without_dropout = tiny_classifier(), Settings(rank=4, threshold=0.8, dropout=0.0, samples=samples)
    plugin, task = Plugin(without_dropout), tiny_experiences()[0]
    seen: dict[str, list[torch.Tensor]] = {}
    template = tiny_template(
        classifier, [plugin], on_step_begin=lambda: seen or seen.update(attention_inputs(classifier))
    )
    template.train(task)
    size, batch = len(task.dataset), template.train_mb_size
    batches = math.ceil((samples or size) / batch)
    steps = template.iterations
    longest, classes = classifier.tokens(0).shape[-1], classifier.class_counts[0]
    # The plug-in's own pass computes the prompts once; the released one does so with every batch.
    prompts = -(-classes // batch)
    assert [h.shape[1] for h in seen["text.0"]] == [longest] * (steps + prompts)
    assert sum(len(h) for h in seen["image.0"]) == steps * batch + min(samples or size, size)
    seen["text.0"] += seen["text.0"][steps:] * (batches - 1)
    for name, covariance in covariances(seen).items():
        expected = grown(torch.zeros(len(covariance), 0, dtype=torch.float64), covariance, 0.8)
        assert torch.allclose(remembered(plugin.memory[name]), expected @ expected.T, atol=1e-4), name
    assert classifier.lengths[0] < longest  # evaluation cuts the prompts again
    assert plugin.decomposition_seconds > 0


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_dropout_acts_in_the_pass_after_a_task(dropout: float) -> None:
    classifier, plugin = tiny_classifier(), Plugin(Settings(rank=4, dropout=dropout))
    seen: dict[str, list[torch.Tensor]] = {}
    template = tiny_template(
        classifier, [plugin], lr=0.1, on_step_begin=lambda: seen or seen.update(attention_inputs(classifier))
    )
    template.train(tiny_experiences()[0])
    trained = template.iterations * template.train_mb_size
    passed = torch.cat(seen["image.1"])[trained:].flatten(0, 1).double()
    seen["image.1"].clear()
    with torch.no_grad():  # the merged model, which has no dropout, over the same images
        classifier.encode_images(tiny_images(2).images[:])
    merged = covariances(seen)["image.1"]
    assert torch.allclose(passed.T @ passed, merged, rtol=1e-3, atol=1e-2) == (dropout == 0)


def test_only_b_learns_and_k_and_v_change_within_the_free_directions_alone() -> None:
    classifier = tiny_classifier()
    plugin = Plugin(Settings(rank=4, threshold=0.6))
    starts: dict[str, torch.Tensor] = {}

    def note() -> None:
        for site, update in plugin.updates.items():
            assert {name for name, _ in update.named_parameters()} == {"up"}
            assert torch.equal(starts.setdefault(site.name, update.down.clone()), update.down)

    template = tiny_template(classifier, [plugin], on_step=note)
    template.train(tiny_experiences()[0])
    found = weight_matrices(classifier.clip)
    assert template.trained_count == sum(4 * site.weight().shape[0] for site in found)
    assert set(plugin.memory) == {"image.0", "image.1", "text.0"}
    memory, before = dict(plugin.memory), {site: site.weight().detach().clone() for site in found}
    starts.clear()
    template.train(tiny_experiences()[1])
    for site in found:
        delta = (site.weight().detach() - before[site]).double()
        assert delta.norm() > 1e-3
        held = remembered(memory[f"{site.tower}.{site.block}"])
        inside = (delta @ held).norm() / delta.norm()
        assert inside < 1e-4 if site.matrix in "kv" else inside > 1e-2
    for name in ("image.0.k", "text.0.v"):
        a = starts[name]
        assert torch.allclose(a @ a.T, torch.eye(4) / 3, atol=1e-5)  # orthonormal rows over sqrt(3)
    assert torch.equal(starts["image.0.k"], starts["image.0.v"])
    bound = 1 / math.sqrt(32)
    assert starts["image.0.q"].abs().max() <= bound
    assert not torch.equal(starts["image.0.q"], starts["image.0.o"])


def test_state_resumes_bit_for_bit_and_begin_forgets() -> None:
    plugin, other = (Plugin(Settings(rank=4, threshold=0.9)) for _ in range(2))
    assert_resumes(plugin, other)
    assert any(key.endswith((".free", ".remembered")) for key in other.state_dict())


@pytest.mark.parametrize("dual", [False, True])
def test_both_forms_of_a_memory_pass_through_the_state(dual: bool) -> None:
    plugin = Plugin(Settings())
    plugin.memory = {"image.0": GradientMemory(torch.eye(4)[:, :1], dual)}
    other = Plugin(Settings())
    other.load_state_dict(plugin.state_dict())
    assert other.memory["image.0"].dual == dual and torch.equal(other.memory["image.0"].basis, torch.eye(4)[:, :1])


def test_a_task_that_broke_off_leaves_weights_and_memory_alone() -> None:
    plugin = Plugin(Settings(rank=4))
    classifier = broken_off(plugin)
    assert plugin.state_dict() == {}
    assert_learns_as_if_new(classifier, plugin, Plugin(Settings(rank=4)))


def test_a_full_memory_leaves_k_and_v_out_and_says_so() -> None:
    classifier, plugin = tiny_classifier(), Plugin(Settings(rank=4, towers="text"))
    plugin.memory = {"text.0": GradientMemory(torch.empty(24, 0), dual=True)}
    tiny_template(classifier, [plugin]).train(tiny_experiences()[0])
    assert plugin.notes == [f"text.0.{matrix}: no free input direction left, skipped" for matrix in "kv"]


def test_k_and_v_alone_and_neither_are_settings() -> None:
    classifier = tiny_classifier()
    before = {site: site.weight().detach().clone() for site in weight_matrices(classifier.clip)}
    tiny_template(classifier, [Plugin(Settings(rank=4, matrices=("k", "v")))]).train(tiny_experiences()[0])
    changed = {site.matrix for site, weight in before.items() if not torch.equal(site.weight(), weight)}
    assert changed == {"k", "v"}
    plugin = Plugin(Settings(rank=4, matrices=("q",)))
    tiny_template(classifier, [plugin]).train(tiny_experiences()[0])
    assert plugin.state_dict() == {}  # nothing is gathered for what does not use it


@pytest.mark.parametrize("wrong", [{"threshold": 1.0}, {"threshold": 0.0}, {"samples": 0}])
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)  # type: ignore[arg-type]


@pytest.mark.slow
def test_trained_parameters_on_vit_b_16_are_the_published_ones() -> None:
    import open_clip

    clip = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False)
    plugin = Plugin(Settings())
    plugin._down = {
        f"{tower}.{block}": torch.eye(size)[:128]
        for tower, size in (("image", 768), ("text", 512))
        for block in range(12)
    }
    updates = [plugin.update_of(site) for site in weight_matrices(clip)]
    assert sum(p.numel() for update in updates if update for p in update.parameters()) == 7_864_320
