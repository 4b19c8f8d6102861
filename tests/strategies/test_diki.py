"""DIKI: the residual branch, the Gaussian and the weight against plain float64, and that nothing learned changes again."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from strategies.clip.classifier import ClipClassifier
from strategies.diki import Plugin, Settings, TaskPrompts, decide
from tests.models import CLASSES, snapshot, tiny_classifier, tiny_experiences, tiny_images, tiny_template


IMAGES = tiny_images(2, count=12, seed=5).images[0:12]
SMALL = Settings(length=3)


def begun(settings: Settings = SMALL) -> tuple[ClipClassifier, Plugin]:
    classifier, plugin = tiny_classifier(), Plugin(settings)
    plugin.begin(classifier)
    return classifier.eval(), plugin


def made_state(classifier: ClipClassifier, centres: list[int]) -> dict[str, Tensor]:
    """Two tasks with random prompts, whose Gaussians sit near these images: some weights are neither 0 nor 1."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        features = classifier.embed_images(IMAGES)
    state = {}
    for task, centre in enumerate(centres):
        for kind, size in (("keys", 2.0), ("values", 0.5)):
            state[f"{task}.{kind}.image"] = size * torch.randn(2, 3, 32, generator=generator)
            state[f"{task}.{kind}.text"] = size * torch.randn(1, 3, 24, generator=generator)
        state[f"{task}.mean"] = features[centre]
        factor = torch.randn(16, 16, generator=generator) / 4
        state[f"{task}.covariance"] = (factor @ factor.T + torch.eye(16)) * 0.08
    return state


def plain_scores(classifier: ClipClassifier, state: dict[str, Tensor]) -> Tensor:
    """(B, T) float64 log densities, by the textbook's formula."""
    with torch.no_grad():
        z = classifier.embed_images(IMAGES).double()
    scores = []
    for task in (0, 1):
        covariance = state[f"{task}.covariance"].double() + 1e-7 * torch.eye(16, dtype=torch.float64)
        gap = z - state[f"{task}.mean"].double()
        distance = (gap @ torch.linalg.inv(covariance) * gap).sum(dim=1)
        scores.append(-0.5 * (distance + torch.logdet(covariance) + 16 * math.log(2 * math.pi)))
    return torch.stack(scores, dim=1)


class PlainAttention(nn.Module):
    """Attention head by head from the formula, with the branch added before the output projection."""

    def __init__(self, base: Any, keys: Tensor, values: Tensor, weight: float) -> None:
        super().__init__()
        self.base, self.keys, self.values, self.weight = base, keys.double(), values.double(), weight

    def forward(self, x: Tensor, *_: Any, attn_mask: Tensor | None = None, **__: Any) -> tuple[Tensor, None]:
        size = self.base.head_dim
        q, k, v = F.linear(x, self.base.in_proj_weight, self.base.in_proj_bias).chunk(3, dim=-1)
        heads = []
        for head in range(self.base.num_heads):
            own = slice(head * size, (head + 1) * size)
            logits = q[..., own] @ k[..., own].mT / math.sqrt(size)
            if attn_mask is not None:
                logits = logits + attn_mask
            attended = logits.softmax(dim=-1) @ v[..., own]
            prompted = (q[..., own] @ self.keys[:, own].T / math.sqrt(size)).softmax(dim=-1) @ self.values[:, own]
            heads.append(attended + self.weight * prompted)
        return self.base.out_proj(torch.cat(heads, dim=-1)), None


@torch.no_grad()
def plain_logits(state: dict[str, Tensor], image: Tensor, task: int, weight: float) -> Tensor:
    """(1, sum of C) float64 of one image: from the original model where the weight is below one half."""
    classifier = tiny_classifier().double().eval()
    if weight >= 0.5:
        for tower, blocks, w in (
            ("image", classifier.clip.visual.transformer.resblocks, weight),
            ("text", classifier.clip.transformer.resblocks, 1.0),
        ):
            for block, keys, values in zip(
                blocks, state[f"{task}.keys.{tower}"], state[f"{task}.values.{tower}"], strict=True
            ):
                block.attn = PlainAttention(block.attn, keys, values, w)
    return torch.cat([classifier(image[None], task) for task in range(len(CLASSES))], dim=1).detach()


def test_each_image_is_answered_by_its_tasks_branch_with_its_weight() -> None:
    classifier, plugin = begun()
    state = made_state(classifier, [0, 4])
    plugin.load_state_dict(state)
    best, tasks = plain_scores(classifier, state).max(dim=1)
    weights = best.sigmoid()
    assert weights.min() < 0.4 and weights.max() > 0.6  # neither all on nor all off
    assert ((weights > 0.51) & (weights < 0.99)).any()  # nor on or off only
    assert set(tasks[weights > 0.5].tolist()) == {0, 1}
    expected = torch.cat(
        [plain_logits(state, *each) for each in zip(IMAGES, tasks.tolist(), weights.tolist(), strict=True)]
    )
    together = classifier.union_logits(IMAGES)
    assert torch.allclose(together.double(), expected, atol=1e-4)
    single = torch.cat([classifier.union_logits(image[None]) for image in IMAGES])
    assert torch.allclose(single, together, atol=1e-4)
    zero_shot = tiny_classifier().eval().union_logits(IMAGES)
    unknown = weights < 0.5
    assert torch.allclose(together[unknown], zero_shot[unknown], atol=1e-5)
    assert (together[~unknown] - zero_shot[~unknown]).abs().max() > 0.1
    assert classifier.clip.state_dict().keys() == tiny_classifier().clip.state_dict().keys()


def test_an_image_decides_alone_and_a_batch_by_majority() -> None:
    scores = torch.tensor([[3.0, 1.0], [0.5, -2.0], [-4.0, 2.0], [-1.0, -3.0]], dtype=torch.float64)
    sigmoid = lambda s: 1 / (1 + math.exp(-s))  # noqa: E731
    routes, weights = decide(scores, together=False)
    assert routes.tolist() == [0, 0, 1, -1]
    assert weights.tolist() == pytest.approx([sigmoid(s) for s in (3, 0.5, 2, -1)])
    routes, weights = decide(scores, together=True)
    assert routes.tolist() == [0, 0, -1, -1]
    assert weights.tolist() == pytest.approx([sigmoid(s) for s in (3, 0.5, -4, -1)])


def test_the_setting_lets_a_batch_decide_and_a_single_image_as_before() -> None:
    classifier, alone = begun()
    state = made_state(classifier, [0, 4])
    alone.load_state_dict(state)
    own = alone.choose(IMAGES)
    tasks = plain_scores(classifier, state).argmax(dim=1)
    voted, voting = begun(Settings(length=3, decision="batch"))
    voting.load_state_dict(state)
    rows = torch.cat([(tasks == 0).nonzero()[:, 0], (tasks == 1).nonzero()[:1, 0]])  # one of task 1 among those of 0
    assert len(rows) > 2 and set(own.tolist()) == {-1, 0, 1}
    assert 1 not in voting.choose(IMAGES[rows]).tolist()
    assert torch.cat([voting.choose(image[None]) for image in IMAGES]).tolist() == own.tolist()
    assert voted.routing is voting


def test_at_the_start_the_model_is_the_original_one_bit_for_bit() -> None:
    classifier, plugin = begun()
    original = tiny_classifier()
    strategy = tiny_template(classifier, [plugin])
    strategy.experience = tiny_experiences()[1]
    plugin.before_train_dataset_adaptation(strategy)
    with torch.no_grad():
        assert torch.equal(classifier.train()(IMAGES, 1), original.train()(IMAGES, 1))
    prompts: Any = classifier.prompts
    assert not any(values.any() for values in prompts.values.values())
    keys = torch.cat([keys.flatten() for keys in prompts.keys.values()])
    assert keys.std().item() == pytest.approx(0.02, rel=0.2)


def test_before_any_task_the_answers_are_zero_shot() -> None:
    classifier, _ = begun()
    assert torch.equal(classifier.union_logits(IMAGES), tiny_classifier().eval().union_logits(IMAGES))


def test_only_the_tasks_prompts_learn_and_the_gaussian_is_the_original_models() -> None:
    classifier, plugin = begun()
    before = snapshot(classifier.clip)
    template = tiny_template(classifier, [plugin])
    for task, experience in enumerate(tiny_experiences()):
        template.train(experience)
        assert template.trained_count == 2 * 3 * (
            2 * 32 + 1 * 24
        )  # keys and values, two image blocks and one text block
        state = plugin.state_dict()
        assert all(state[f"{task}.values.{tower}"].any(dim=-1).all() for tower in ("image", "text"))
        with torch.no_grad():
            features = tiny_classifier().embed_images(tiny_images(CLASSES[task]).images[0:12]).double()
        assert torch.allclose(state[f"{task}.mean"].double(), features.mean(dim=0), atol=1e-5)
        assert torch.allclose(state[f"{task}.covariance"].double(), torch.cov(features.T), atol=1e-5)
    assert plugin.notes and "12 training images" in plugin.notes[0]  # 16 dimensions
    after = snapshot(classifier.clip)
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


def test_a_learned_task_answers_the_same_after_the_next_one() -> None:
    classifier, plugin = begun()
    template = tiny_template(classifier, [plugin])
    own = tiny_images(CLASSES[0]).images[0:12]  # its training images: they choose it before and after
    template.train(tiny_experiences()[0])
    state = {name: tensor.clone() for name, tensor in plugin.state_dict().items()}
    answers = classifier.eval().union_logits(own)
    template.train(tiny_experiences()[1])
    assert plugin.choose(own).tolist() == [0] * 12
    assert torch.equal(classifier.eval().union_logits(own), answers)
    assert all(torch.equal(plugin.state_dict()[name], tensor) for name, tensor in state.items())
    assert not torch.equal(answers, tiny_classifier().eval().union_logits(own))


def test_a_resumed_run_ends_the_same_and_a_second_one_inherits_nothing() -> None:
    classifier, plugin = begun()
    template = tiny_template(classifier, [plugin])
    template.train(tiny_experiences()[0])
    state = {name: tensor.clone() for name, tensor in plugin.state_dict().items()}
    template.train(tiny_experiences()[1])

    resumed, other = begun()
    other.load_state_dict(state)
    after = tiny_template(resumed, [other])
    after.clock.train_exp_counter = 1
    after.train(tiny_experiences()[1])
    assert plugin.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in plugin.state_dict().items())
    assert torch.equal(resumed.eval().union_logits(IMAGES), classifier.eval().union_logits(IMAGES))

    second = tiny_classifier()
    tiny_template(second, [plugin]).train(tiny_experiences()[0])
    assert plugin.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in plugin.state_dict().items())


def test_a_task_that_broke_off_leaves_nothing_behind() -> None:
    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    classifier, plugin = begun()
    with pytest.raises(Stop):
        tiny_template(classifier, [plugin], on_step=stop).train(tiny_experiences()[0])
    assert plugin.state_dict() == {}
    tiny_template(classifier, [plugin]).train(tiny_experiences()[0])
    fresh, other = begun()
    tiny_template(fresh, [other]).train(tiny_experiences()[0])
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in plugin.state_dict().items())


def test_a_state_of_other_settings_is_refused() -> None:
    classifier, _ = begun()
    _, other = begun(Settings(length=4))
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict(made_state(classifier, [0, 4]))


@pytest.mark.slow
def test_trained_parameters_on_vit_b_16_are_the_published_ones() -> None:
    import open_clip

    clip = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False)
    prompts = TaskPrompts(clip, Settings(), torch.zeros(512), torch.eye(512))
    assert sum(parameter.numel() for parameter in prompts.parameters()) == 163_840
    assert 11 * 163_840 == 1_802_240  # 1.8 M over the eleven tasks of MTIL
