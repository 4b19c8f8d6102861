"""Accuracy of a micro CLIP on the stream's domains without further training, measured as a run measures it."""

from pathlib import Path

import torch

from benchmarks.backbones.loading import load_backbone
from benchmarks.experiment.evaluation import EvaluationSet, evaluate
from benchmarks.experiment.loop import make_classifier
from benchmarks.images.decode import decode
from benchmarks.streams.micro import build
from benchmarks.streams.orders import whole


def zero_shot(folder: Path) -> dict[str, float]:
    """Percent for each domain of `micro`, the task known, and their mean; for a model in open_clip's local-dir layout."""
    stream, backbone = whole(build("")), load_backbone(f"local-dir:{folder}", None)
    tests = [EvaluationSet(decode(t.test, backbone.size), torch.from_numpy(t.test.labels)) for t in stream.tasks]
    names = [task.class_names for task in stream.tasks]
    known = evaluate(make_classifier(backbone, stream), tests, names, torch.device("cpu")).known
    accuracies = {task.name: round(accuracy, 2) for task, accuracy in zip(stream.tasks, known, strict=True)}
    return {**accuracies, "mean": round(sum(known) / len(known), 2)}
