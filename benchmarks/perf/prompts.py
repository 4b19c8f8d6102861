"""Measures what computing shared tokens once, and of the last block one token, saves: prompts, and a fine-tuning step."""

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
    return figures
