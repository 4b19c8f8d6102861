"""A short run of the tiny CLIP on the three tasks of the tiny folder stream, with what is measured besides."""

from pathlib import Path
from typing import Any

from benchmarks import api as nb


PLACES = [("image", 0), ("image", 1), ("text", 0)]
MATRICES = [(*place, matrix) for place in PLACES for matrix in "qkvo"]  # the order of the rows of a state


def learn(images: Path, tiny_clip: Path, results: Path, strategy: str, *measure: str, **more: Any) -> nb.Run:
    """The finished run, with 8 steps for each task and the weights of every state."""
    settings: dict[str, Any] = {
        "iterations": 8,
        "batch_size": 4,
        "lr": 1e-2,
        "warmup": 0,
        "device": "cpu",
        "plots": False,
    }
    place: dict[str, Any] = {"model": f"local-dir:{tiny_clip}", "results": results, "silent": True}
    asked: dict[str, Any] = {"measure": list(measure), "keep_states": True, **settings, **place, **more}
    return nb.run(strategy, f"folder:{images}", **asked)


def weights(run: nb.Run, tiny_clip: Path) -> list[dict[tuple[str, int, str], Any]]:
    """The attention's matrices (d_out, d_in) float64 of each state, by tower, block and name, from the files of the run."""
    from safetensors.numpy import load_file

    state = load_file(tiny_clip / "open_clip_model.safetensors")
    states = [state]
    for file in sorted((run.folder / "states").iterdir()):
        changed = load_file(file)
        state = state | {
            name.removeprefix("model."): tensor for name, tensor in changed.items() if name.startswith("model.")
        }
        states.append(state)
    return [{place: _matrix(state, *place) for place in MATRICES} for state in states]


def _matrix(state: dict[str, Any], tower: str, block: int, matrix: str) -> Any:
    at = f"{'visual.' if tower == 'image' else ''}transformer.resblocks.{block}.attn."
    if matrix == "o":
        return state[f"{at}out_proj.weight"].astype(float)
    whole = state[f"{at}in_proj_weight"].astype(float)
    return whole.reshape(3, -1, whole.shape[1])["qkv".index(matrix)]
