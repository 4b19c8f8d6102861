"""Writes the micro CLIP in the layout that open_clip reads as `local-dir:`."""

from pathlib import Path
from typing import Any

from benchmarks.backbones.loading import MICRO, VOCABULARY, WEIGHTS
from benchmarks.experiment.checkpoint import pack
from benchmarks.runtime.files import write_bytes


def publish(clip: Any, out: Path) -> None:
    """Weights in float32, and the config and vocabulary they belong to."""
    write_bytes(out / WEIGHTS, pack(clip.float().state_dict()))
    for name in ("open_clip_config.json", VOCABULARY):
        write_bytes(out / name, (MICRO / name).read_bytes())
