"""Accuracy of a micro CLIP on the stream's domains without further training, measured as a run measures it."""

from pathlib import Path

from benchmarks.backbones.loading import load_backbone
from benchmarks.experiment.model_test import accuracy_of
from benchmarks.streams.micro import build


def zero_shot(folder: Path) -> dict[str, float]:
    """Percent for each domain of `micro`, the task known, and their mean; for a model in open_clip's local-dir layout."""
    backbone = load_backbone(f"local-dir:{folder}", None)
    known = accuracy_of(backbone.clip, build(""), backbone.tokenize, "default", "cpu", None)["task_aware"]
    return {**known.round(2).to_dict(), "mean": round(float(known.mean()), 2)}
