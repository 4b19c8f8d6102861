"""InfLoRA: the gathered covariance, the basis, the memory's growth and its dual, against float64 references."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from strategies.clip.weight_matrices import weight_matrices
from strategies.inflora import Plugin, Settings, gather
from strategies.numerics.gradient_memory import GradientMemory, empty
from tests.models import assert_resumes, snapshot, tiny_classifier, tiny_experiences, tiny_images, tiny_template


def inputs(count: int, size: int, seed: int) -> torch.Tensor:
    """Inputs (count, size), float64, with a falling spectrum."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    strengths = 0.6 ** torch.arange(size, dtype=torch.float64)
    return torch.randn(count, size, generator=generator, dtype=torch.float64) * strengths @ directions.T


def grown(memory: torch.Tensor, h: torch.Tensor, threshold: float) -> torch.Tensor:
    """The rule, step by step on the inputs themselves: memory (d, m) to (d, m + k)."""
    rest = h - h @ memory @ memory.T
    _, s, vh = torch.linalg.svd(rest, full_matrices=False)
    held, total = (h @ memory).square().sum(), h.square().sum()
    k = 0
    while held + s[:k].square().sum() < threshold * total:
        k += 1
    return torch.cat([memory, vh[:k].T], dim=1)


def remembered(memory: GradientMemory) -> torch.Tensor:
    """Projector (d, d) on what is remembered."""
    basis = memory.basis.double()
    onto = basis @ basis.T
    return torch.eye(len(basis), dtype=torch.float64) - onto if memory.dual else onto


def test_the_memory_grows_by_the_rule_and_turns_into_its_dual() -> None:
    size, reference, memory = 12, torch.zeros(12, 0, dtype=torch.float64), empty(12)
    columns = []
    for task in range(6):
        h = inputs(40, size, seed=task)
        reference = grown(reference, h, 0.9)
        memory = memory.extended(h.T @ h, 0.9)
        assert torch.allclose(remembered(memory), reference @ reference.T, atol=1e-5)
        m = reference.shape[1]
        columns.append(m)
        assert memory.dual == (m > size / 2)
        assert memory.basis.shape == (size, min(m, size - m)) and memory.basis.dtype == torch.float32
        assert ((h - h @ remembered(memory)).square().sum() / h.square().sum()) <= 0.1 + 1e-6
    assert 0 < columns[0] < size / 2 < columns[-1] < size  # both forms, and growth in both, were seen
    assert len(set(columns)) > 3


def test_a_task_that_the_memory_holds_already_changes_no_bit_of_it() -> None:
    h = inputs(40, 12, seed=0)
    memory = empty(12).extended(h.T @ h, 0.9)
    assert memory.extended(7 * h.T @ h, 0.9) is memory  # nor does the covariance's scale matter
    assert empty(12).extended(torch.zeros(12, 12), 0.9).basis.shape == (12, 0)


def memory_of(tasks: int) -> GradientMemory:
    """Of the first tasks: 0 nothing remembered, 1 remembered, 5 dual."""
    memory = empty(12)
    for task in range(tasks):
        h = inputs(40, 12, seed=task)
        memory = memory.extended(h.T @ h, 0.9)
    return memory


@pytest.mark.parametrize("tasks", [0, 1, 5])
def test_the_leading_directions_are_the_left_singular_vectors_of_the_rest_of_the_covariance(tasks: int) -> None:
    memory = memory_of(tasks)
    h = inputs(40, 12, seed=99)
    covariance = h.T @ h
    u, _, _ = torch.linalg.svd(covariance - remembered(memory) @ covariance)
    leading = memory.leading(covariance, 3)
    top = min(3, 12 - round(float(remembered(memory).trace())))
    assert leading.shape == (12, top)
    assert torch.allclose((leading.T @ u[:, :top]).abs(), torch.eye(top, dtype=torch.float64), atol=1e-3)
    few, _, _ = torch.linalg.svd(covariance)
    differs = not torch.allclose((leading.T @ few[:, :top]).abs(), torch.eye(top, dtype=torch.float64), atol=1e-2)
    assert differs == (tasks > 0)


@pytest.mark.parametrize("tasks", [0, 1, 5])
def test_the_free_directions_are_the_top_ones_of_what_the_memory_does_not_hold(tasks: int) -> None:
    memory = memory_of(tasks)
    h = inputs(40, 12, seed=99)
    rest = h - h @ remembered(memory)
    _, s, vh = torch.linalg.svd(rest, full_matrices=False)
    energy, directions = memory.free(h.T @ h)
    top = min(3, len(energy))
    assert memory.dual == (tasks == 5) and len(energy) == 12 - round(float(remembered(memory).trace()))
    assert torch.allclose(energy[:top], s[:top].square(), rtol=1e-4)
    assert torch.allclose((directions[:, :top].T @ vh[:top].T).abs(), torch.eye(top, dtype=torch.float64), atol=1e-3)
    assert torch.allclose(directions.T @ directions, torch.eye(len(energy), dtype=torch.float64), atol=1e-5)
    assert (directions.T @ remembered(memory)).abs().max() < 1e-5


class Stage:
    """What `gather` reads of a strategy."""

    def __init__(self, classifier: Any, task: int) -> None:
        self.model, self.experience, self.device = classifier, tiny_experiences()[task], torch.device("cpu")
        self.train_mb_size = 5


def test_gather_sums_over_every_token_of_images_and_prompts_and_leaves_no_hook() -> None:
    classifier, task = tiny_classifier(), 1
    found = gather(Stage(classifier, task), ("image", "text"), samples=100)
    assert set(found) == {"image.0", "image.1", "text.0"}
    clip = classifier.clip.double()
    seen: dict[str, torch.Tensor] = {}
    layers = {"image.0": clip.visual.transformer.resblocks[0], "text.0": clip.transformer.resblocks[0]}
    for name, block in layers.items():
        block.ln_1.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out))
    images = tiny_images(3).images[:].double() / 255
    with torch.no_grad():
        clip.encode_image((images - classifier.mean) / classifier.std)
        clip.encode_text(classifier.tokens(task)[0])
    for name, h in seen.items():
        h = h.reshape(-1, h.shape[-1])
        assert torch.allclose(found[name], h.T @ h, rtol=1e-4, atol=1e-3)
    assert not any(block.attn._forward_pre_hooks for block in layers.values())


def test_gather_reads_as_many_images_as_asked_and_the_same_ones_again() -> None:
    stage = Stage(tiny_classifier(), 0)
    traces = []
    for samples in (7, 7, 12):
        torch.manual_seed(5)
        traces.append(gather(stage, ("image",), samples)["image.1"])
    assert torch.equal(traces[0], traces[1])
    tokens = 5  # 4 patches and the class token; layer norm gives each an energy of about d
    assert traces[0].trace() == pytest.approx(7 * tokens * 32, rel=0.01)
    assert traces[2].trace() == pytest.approx(12 * tokens * 32, rel=0.01)


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


def test_the_memory_is_of_the_model_after_the_task() -> None:
    classifier = tiny_classifier()
    plugin = Plugin(Settings(rank=4, threshold=0.8))
    template = tiny_template(classifier, [plugin])
    template.train(tiny_experiences()[0])
    for name, covariance in gather(Stage(classifier, 0), ("image", "text"), 100).items():
        expected = empty(len(covariance)).extended(covariance, 0.8)
        assert torch.allclose(remembered(plugin.memory[name]), remembered(expected), atol=1e-5)
    assert plugin.decomposition_seconds > 0


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
    classifier, plugin = tiny_classifier(), Plugin(Settings(rank=4))
    start = snapshot(classifier.clip)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny_template(classifier, [plugin], on_step=stop).train(tiny_experiences()[0])
    assert plugin.state_dict() == {}
    held = {name.replace(".base", ""): tensor for name, tensor in snapshot(classifier.clip).items()}
    assert all(torch.equal(held[name], tensor) for name, tensor in start.items())
    tiny_template(classifier, [plugin]).train(tiny_experiences()[0])
    fresh = tiny_classifier()
    tiny_template(fresh, [Plugin(Settings(rank=4))]).train(tiny_experiences()[0])
    assert all(torch.equal(t, fresh.clip.state_dict()[n]) for n, t in classifier.clip.state_dict().items())


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
        f"{tower}.{block}": empty(size).free(torch.eye(size)).directions[:, :128].T
        for tower, size in (("image", 768), ("text", 512))
        for block in range(12)
    }
    updates = [plugin.update_of(site) for site in weight_matrices(clip)]
    assert sum(p.numel() for update in updates if update for p in update.parameters()) == 7_864_320
