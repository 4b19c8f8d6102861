"""Writes the micro CLIP in the layout that open_clip reads as `local-dir:`, and measures its zero-shot accuracy."""

from pathlib import Path
from typing import Any

from benchmarks.experiment.backbones.loading import MICRO, VOCABULARY, WEIGHTS, load_backbone
from benchmarks.experiment.checkpoint import pack
from benchmarks.experiment.model_test import accuracy_of
from benchmarks.runtime.files import write_bytes
from benchmarks.streams.micro import build


def publish(clip: Any, out: Path) -> None:
    """Writes the weights in float32, the config and the vocabulary of the micro CLIP into a folder.

    Args:
        clip: the trained micro CLIP; it is converted to float32 in place.
        out: the folder, in the layout that open_clip reads as `local-dir:`.
    """
    write_bytes(out / WEIGHTS, pack(clip.float().state_dict()))
    for name in ("open_clip_config.json", VOCABULARY):
        write_bytes(out / name, (MICRO / name).read_bytes())


def zero_shot(folder: Path) -> dict[str, float]:
    """Returns the task-aware zero-shot accuracy in percent on each domain of `micro`, by the domain's name.

    Task-aware means that only the domain's own classes compete. The key `mean` holds the mean over the domains. Values
    are rounded to two decimals.

    Args:
        folder: of the model, in open_clip's local-dir layout.
    """
    backbone = load_backbone(f"local-dir:{folder}", None)
    known = accuracy_of(backbone.clip, build(""), backbone.tokenize, "default", "cpu", None)["task_aware"]
    return {**known.round(2).to_dict(), "mean": round(float(known.mean()), 2)}
