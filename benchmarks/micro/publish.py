"""Writes the micro CLIP in the layout that open_clip reads as `local-dir:`."""

from pathlib import Path
from typing import Any

from safetensors.torch import save

from benchmarks.files import write_bytes
from benchmarks.micro.training import FOLDER


def publish(clip: Any, out: Path) -> None:
    """Weights in float32, and the config and vocabulary they belong to."""
    state = {name: tensor.detach().cpu().float().contiguous() for name, tensor in clip.state_dict().items()}
    write_bytes(out / "open_clip_model.safetensors", save(state))
    for name in ("open_clip_config.json", "vocabulary.txt.gz"):
        write_bytes(out / name, (FOLDER / name).read_bytes())
