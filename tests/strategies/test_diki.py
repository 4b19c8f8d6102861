"""DIKI: branch, task, weight and text factor against plain float64, and that nothing learned changes again."""

import math
from itertools import pairwise
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
    """Two tasks with random prompts, whose Gaussians sit near these images: their weights lie on both sides of 1/2."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        features = classifier.encode_images(IMAGES)
    state = {}
    for task, centre in enumerate(centres):
        for kind, size in (("keys", 2.0), ("values", 0.5)):
            state[f"{task}.{kind}.image"] = size * torch.randn(2, 3, 32, generator=generator)
            state[f"{task}.{kind}.text"] = size * torch.randn(1, 3, 24, generator=generator)
        state[f"{task}.mean"] = features[centre]
        factor = torch.randn(16, 16, generator=generator) / 4
        state[f"{task}.covariance"] = (factor @ factor.T + torch.eye(16)) * 0.0008
    return state


@torch.no_grad()
def plain_tasks_and_weights(state: dict[str, Tensor], images: Tensor, divisor: int) -> tuple[list[int], list[float]]:
    """The task and the weight of each image, by the textbook's formulas in float64, image by image."""
    classifier = tiny_classifier().double().eval()
    tasks, weights = [], []
    for image in images:
        raw = classifier.clip.encode_image((image[None] / 255 - classifier.mean) / classifier.std)[0]
        f = raw / raw.square().sum().sqrt()
        scores = []
        for task in (0, 1):
            covariance = state[f"{task}.covariance"].double() + 1e-7 * torch.eye(16, dtype=torch.float64)
            gap = f - state[f"{task}.mean"].double()
            distance = float(gap @ torch.linalg.inv(covariance) @ gap)
            scores.append(
                -0.5 * (distance + math.log(float(torch.linalg.det(covariance))) + 16 * math.log(2 * math.pi))
            )
        tasks.append(scores.index(max(scores)))
        weights.append(1 / (1 + math.exp(1 - max(scores) / divisor)))
    return tasks, weights


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
def plain_logits(
    state: dict[str, Tensor], image: Tensor, task: int, weight: float, text_weight: float, templates: int | None = None
) -> Tensor:
    """(1, sum of C) float64 of one image."""
    classifier = tiny_classifier().double().eval()
    for tower, blocks, w in (
        ("image", classifier.clip.visual.transformer.resblocks, weight),
        ("text", classifier.clip.transformer.resblocks, text_weight),
    ):
        for block, keys, values in zip(
            blocks, state[f"{task}.keys.{tower}"], state[f"{task}.values.{tower}"], strict=True
        ):
            block.attn = PlainAttention(block.attn, keys, values, w)
    feature = classifier.encode_images(image[None])
    texts = [
        F.normalize(
            torch.stack([classifier.encode_texts(tokens) for tokens in classifier.tokens(label)[:templates]]).mean(
                dim=0
            )
        )
        for label in range(len(CLASSES))
    ]
    return classifier.clip.logit_scale.exp() * feature @ torch.cat(texts).T


@pytest.mark.parametrize(("divisor", "number"), [("512", 512), ("dimension", 16)])
def test_each_image_is_answered_by_its_tasks_branch_with_its_weight(divisor: Any, number: int) -> None:
    classifier, plugin = begun(Settings(length=3, divisor=divisor))
    state = made_state(classifier, [0, 2])
    plugin.load_state_dict(state)
    tasks, weights = plain_tasks_and_weights(state, IMAGES, number)
    assert set(tasks) == {0, 1} and min(weights) < 0.45  # the branch counts below 1/2 too
    assert number == 512 or max(weights) > 0.6
    rounded = [round(16 * weight) / 16 for weight in weights]
    expected = torch.cat([plain_logits(state, *each) for each in zip(IMAGES, tasks, weights, rounded, strict=True)])
    together = classifier.union_logits(IMAGES)
    assert torch.allclose(together.double(), expected, atol=1e-4)
    single = torch.cat([classifier.union_logits(image[None]) for image in IMAGES])
    assert torch.allclose(single, together, atol=1e-4)
    zero_shot = tiny_classifier().eval().union_logits(IMAGES)
    assert ((together - zero_shot).abs().amax(dim=1) > 0.1).all()
    assert classifier.clip.state_dict().keys() == tiny_classifier().clip.state_dict().keys()


def test_a_batch_takes_one_task_each_images_own_weight_and_the_texts_their_mean() -> None:
    classifier, plugin = begun(Settings(length=3, divisor="dimension", decision="batch"))
    state = made_state(classifier, [0, 2])
    plugin.load_state_dict(state)
    tasks, weights = plain_tasks_and_weights(state, IMAGES, 16)
    minority = min((0, 1), key=tasks.count)
    few = [index for index, task in enumerate(tasks) if task == minority][:2]
    many = [index for index, task in enumerate(tasks) if task != minority]
    assert len(few) < 3 <= len(many)
    means = []
    for rows in ([*few, *many], many, few[:1]):  # one after the other, each with another mean
        mean = sum(weights[row] for row in rows) / len(rows)
        task = minority if rows == few[:1] else 1 - minority
        expected = torch.cat([plain_logits(state, IMAGES[row], task, weights[row], mean) for row in rows])
        assert torch.allclose(classifier.union_logits(IMAGES[rows]).double(), expected, atol=1e-4)
        assert len(classifier._features) == len(CLASSES)  # those of one batch: nothing piles up
        means.append(mean)
    assert min(abs(one - other) for one, other in pairwise(means)) > 0.01


def test_decisions_of_an_image_and_of_a_batch() -> None:
    scores = torch.tensor([[900.0, 100.0], [600.0, -200.0], [-4000.0, 800.0], [-100.0, -3000.0]], dtype=torch.float64)
    expected = [1 / (1 + math.exp(1 - best / 512)) for best in (900, 600, 800, -100)]
    tasks, weights, texts = decide(scores, 512, together=False)
    assert tasks.tolist() == [0, 0, 1, 0]
    assert weights.tolist() == pytest.approx(expected, abs=1e-14)
    assert texts.tolist() == [round(16 * weight) / 16 for weight in expected]
    tasks, weights, texts = decide(scores, 512, together=True)
    assert tasks.tolist() == [0, 0, 0, 0]
    assert weights.tolist() == pytest.approx(expected, abs=1e-14)
    assert texts.tolist() == pytest.approx([sum(expected) / 4] * 4, abs=1e-14)


def test_the_first_template_alone_answers_if_asked() -> None:
    answers = {}
    for templates, count in (("first", 1), ("all", None)):
        classifier, plugin = begun(Settings(length=3, divisor="dimension", templates=templates))  # type: ignore[arg-type]
        state = made_state(classifier, [0, 2])
        plugin.load_state_dict(state)
        ((task,), (weight,)) = plain_tasks_and_weights(state, IMAGES[:1], 16)
        expected = plain_logits(state, IMAGES[0], task, weight, round(16 * weight) / 16, count)
        answers[templates] = classifier.union_logits(IMAGES[:1])
        assert torch.allclose(answers[templates].double(), expected, atol=1e-4)
    assert (answers["first"] - answers["all"]).abs().max() > 0.1
    other = tiny_classifier()
    Plugin(SMALL).begin(other)
    assert other.evaluation_templates is None


def test_the_divisor_is_read_from_a_number_too() -> None:
    assert Settings(divisor=512).divisor == "512"  # type: ignore[arg-type]


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
    assert keys.abs().max() <= 1
    assert keys.mean().item() == pytest.approx(0, abs=0.1)
    assert keys.std().item() == pytest.approx(1 / math.sqrt(3), rel=0.1)  # of U(-1, 1)


def test_before_any_task_the_answers_are_zero_shot() -> None:
    classifier, _ = begun()
    assert torch.equal(classifier.union_logits(IMAGES), tiny_classifier().eval().union_logits(IMAGES))


def test_only_the_tasks_prompts_learn_and_the_gaussian_is_the_original_models() -> None:
    classifier, plugin = begun()
    before, notes = snapshot(classifier.clip), []
    template = tiny_template(classifier, [plugin])
    for task, experience in enumerate(tiny_experiences()):
        template.train(experience)
        assert template.trained_count == 2 * 3 * (
            2 * 32 + 1 * 24
        )  # keys and values, two image blocks and one text block
        state = plugin.state_dict()
        assert all(state[f"{task}.values.{tower}"].any(dim=-1).all() for tower in ("image", "text"))
        with torch.no_grad():
            features = tiny_classifier().encode_images(tiny_images(CLASSES[task]).images[0:12]).double()
        assert torch.allclose(state[f"{task}.mean"], features.mean(dim=0), atol=1e-7)
        assert torch.allclose(state[f"{task}.covariance"], torch.cov(features.T), atol=1e-8)
        notes.append(plugin.notes)
    assert all("12 training images" in each[0] for each in notes)  # 16 dimensions
    cut = "depth 8 is cut to 2 in the image tower and 1 in the text tower: all blocks"
    assert [each[1:] for each in notes] == [[cut], []]  # said once
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
    assert (plugin.choose(own) < 17).all()  # the first task's routes
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
