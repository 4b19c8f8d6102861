"""Measures what is saved by computing once what is the same: shared tokens, and features of towers that do not learn.

Of the last block only one token is computed.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.perf.setting import LOOP, Setting, whole
from benchmarks.perf.timing import in_turns, ratio, timed
from strategies import finetune
from strategies.clip.classifier import ClipClassifier


PROMPTS = (10, 100, 397, 1000)
TRAINED = 397  # number of prompts of the fine-tuning step
STEPS = 8  # of fine-tuning; the first is not counted


def _texts(setting: Setting, model: ClipClassifier) -> Callable[[], float]:
    """Returns a function that computes a task's text features for evaluation, and returns the seconds."""

    def encode() -> None:
        model.forget_texts()
        model.evaluation_features(0)
        setting.wait()

    return timed(encode)


def _text_tower_step(setting: Setting, *, known: bool) -> Callable[[], float]:
    """Returns a function that does forward and backward pass of a step in which only the text tower learns.

    It returns the seconds. If `known`, the images were in an earlier step, else they are new.
    """
    model = setting.classifier.train()
    model.clip.visual.requires_grad_(False)

    def step() -> None:
        if not known:
            model.train()  # forgets
        model(setting.batch, 0).sum().backward()
        setting.wait()

    return timed(step)


def _finetune_step(setting: Setting, model: ClipClassifier) -> Callable[[], None]:
    """Returns a function that does one step of fine-tuning on a batch of the setting's, with fused AdamW."""
    model.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LOOP["lr"], weight_decay=LOOP["weight_decay"], fused=True)
    labels = (torch.arange(setting.batch_size) % model.class_counts[0]).to(setting.device)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(setting.batch, 0), labels, label_smoothing=LOOP["label_smoothing"]).backward()
        optimizer.step()

    return step


def measure(model: str, batch_size: int, device: str) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part prompts` measures: whole towers / the project's.

    Whole towers compute every prompt for itself, to the end of the longest, and all tokens of their last blocks. Ratios
    of times are dicts with `median`, `low` and `high`.

    Args:
        model: name of an open_clip model.
        batch_size: images in a training step.
        device: `cpu` or `cuda`.

    Returns:
        `whole_texts_over_texts_N_prompts`: the text features of N classes with a prompt each, as for evaluation, for N =
        10, 100, 397 and 1000.
        `whole_finetune_step_over_step_397_prompts`: a step of fine-tuning.
        `new_over_known_images_397_prompts`: forward and backward pass of a step in which only the text tower learns, with
        images that come for the first time / that an earlier step had.
    """
    figures: dict[str, Any] = {}
    for classes in PROMPTS:
        setting = Setting(model, batch_size, classes, device)
        both = {"whole": whole(setting.classifier).eval(), "ours": setting.classifier.eval()}
        seconds = in_turns({name: _texts(setting, each) for name, each in both.items()})
        figures[f"whole_texts_over_texts_{classes}_prompts"] = ratio(seconds["whole"], seconds["ours"])
    setting = Setting(model, batch_size, TRAINED, device, STEPS)
    beside = _finetune_step(setting, whole(setting.classifier))
    seconds = setting.beside(finetune.Plugin(finetune.Settings()), {"whole": beside})
    figures[f"whole_finetune_step_over_step_{TRAINED}_prompts"] = ratio(seconds["whole"], seconds["step"])
    seconds = in_turns({name: _text_tower_step(setting, known=name == "known") for name in ("new", "known")})
    figures[f"new_over_known_images_{TRAINED}_prompts"] = ratio(seconds["new"], seconds["known"])
    return figures
