"""Small models and streams for tests of the strategies, in memory."""

from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from strategies.clip.classifier import ClipClassifier
from strategies.shared.low_rank import LowRankUpdate, adapted
from strategies.training.experiences import LabelledImages, make_benchmark
from strategies.training.template import ClipTemplate
from tests.conftest import TINY


CLASSES = (2, 3)
TEMPLATES = 2
CPU = torch.device("cpu")


def applied(update: LowRankUpdate, x: Tensor) -> Tensor:
    """Inputs (..., d_in) to x dW^T (..., d_out), as the model computes it beside a weight, here of zeros."""
    return adapted(x, torch.zeros(len(update.up), update.down.shape[1], device=x.device), None, {0: update})


def tiny_model(seed: int = 0, device: torch.device = CPU) -> Any:
    """An open_clip model with random weights whose text features differ from prompt to prompt."""
    torch.manual_seed(seed)
    config = {**TINY, "text_cfg": {**TINY["text_cfg"], "vocab_size": 50}}  # type: ignore[dict-item]
    return open_clip.model.CLIP(**config).to(device)


def vit_b_16() -> Any:
    """An open_clip ViT-B/16 without values: the names and shapes of its weights."""
    with torch.device("meta"):
        return open_clip.create_model("ViT-B-16-quickgelu", load_weights=False, device="meta")


def tiny_classifier(seed: int = 0, device: torch.device = CPU) -> ClipClassifier:
    """Two tasks of 2 and 3 classes with 2 templates each; the highest token is the end of the text."""
    clip = tiny_model(seed)
    generator = torch.Generator().manual_seed(9)
    prompts = []
    for classes in CLASSES:
        tokens = torch.randint(1, 48, (TEMPLATES, classes, 16), generator=generator)
        tokens[..., 6] = 49
        tokens[..., 7:] = 0
        prompts.append(tokens)
    return ClipClassifier(clip, prompts, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)).to(device)


def tiny_images(classes: int, count: int = 12, seed: int = 0) -> LabelledImages:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, 16, 16), generator=generator, dtype=torch.uint8)
    return LabelledImages(images, torch.arange(count) % classes)


def tiny_experiences() -> Any:
    return make_benchmark([tiny_images(classes) for classes in CLASSES]).train_stream


def tiny_template(classifier: ClipClassifier, plugins: list[Any], **changes: Any) -> ClipTemplate:
    settings: dict[str, Any] = {
        "iterations": 4,
        "batch_size": 4,
        "lr": 0.01,
        "weight_decay": 0.01,
        "warmup": 0.25,
        "label_smoothing": 0.2,
        "seed": 1,
        "device": classifier.mean.device,
    }
    return ClipTemplate(model=classifier, plugins=plugins, **{**settings, **changes})


def assert_resumes(plugin: Any, other: Any) -> None:
    """Two tasks in one go, and in two halves with the state handed over, end the same; a new run begins without any.

    Args:
        plugin, other: two plugins with the same settings.
    """
    straight = tiny_classifier()
    template = tiny_template(straight, [plugin])
    template.train(tiny_experiences()[0])
    state = {name: tensor.clone() for name, tensor in plugin.state_dict().items()}
    weights = snapshot(straight.clip)
    template.train(tiny_experiences()[1])

    resumed = tiny_classifier(seed=3)
    other.begin(resumed)
    resumed.clip.load_state_dict(weights)
    other.load_state_dict(state)
    tiny_template(resumed, [other]).train(tiny_experiences()[1])
    assert state
    assert all(torch.equal(t, resumed.clip.state_dict()[n]) for n, t in straight.clip.state_dict().items())
    assert all(torch.equal(t, other.state_dict()[n]) for n, t in plugin.state_dict().items())
    plugin.begin(straight)
    assert plugin.state_dict() == {}


def broken_off(plugin: Any) -> ClipClassifier:
    """A model whose first task was interrupted at its first step; the method has changed no bit of its weights."""
    classifier = tiny_classifier()
    start = snapshot(classifier.clip)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny_template(classifier, [plugin], on_step=stop).train(tiny_experiences()[0])
    held = {name.replace(".base", ""): tensor for name, tensor in snapshot(classifier.clip).items()}
    assert all(torch.equal(held[name], tensor) for name, tensor in start.items())
    return classifier


def assert_learns_as_if_new(classifier: ClipClassifier, plugin: Any, fresh: Any) -> None:
    """A model whose first task broke off learns it with the same method as a new model does with another, `fresh`."""
    tiny_template(classifier, [plugin]).train(tiny_experiences()[0])
    straight = tiny_classifier()
    tiny_template(straight, [fresh]).train(tiny_experiences()[0])
    assert all(torch.equal(t, straight.clip.state_dict()[n]) for n, t in classifier.clip.state_dict().items())


def snapshot(clip: Any) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in clip.state_dict().items()}
