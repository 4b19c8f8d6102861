"""Pretrains the micro CLIP, a small CLIP for rendered images of 32x32 pixels, from scratch: `python -m
benchmarks.pretrain`.
"""

import time
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.config.errors import UserError
from benchmarks.config.terminal import Command
from benchmarks.pretrain.pairs import draw_pairs
from benchmarks.runtime.environment import ready_for_avalanche
from benchmarks.runtime.files import check_writable, write_json


CURVE = 40  # number of stored points of the loss curve


def _curve(losses: list[float]) -> list[float]:
    """Returns about CURVE means over equal parts of the losses."""
    every = max(1, len(losses) // CURVE)
    parts = [losses[first : first + every] for first in range(0, len(losses), every)]
    return [round(sum(part) / len(part), 4) for part in parts]


def _run(seed: int, steps: int, batch_size: int, pairs: int, device: str) -> tuple[Any, dict[str, Any]]:
    """Returns the trained model and a record of its training."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        drawing = progress.add_task("drawing pairs", total=pairs)
        captions, pictures = draw_pairs(pairs, seed, lambda count: progress.advance(drawing, count))

        # Torch is imported after drawing, since its threads would slow it down.
        from benchmarks.pretrain import training

        clip = training.new_clip(seed)
        stepping = progress.add_task("loss", total=steps)
        losses: list[float] = []

        def on_step(loss: float) -> None:
            losses.append(loss)
            progress.update(stepping, advance=1, description=f"loss {loss:.3f}")

        start = time.perf_counter()
        training.pretrain(clip, captions, pictures, steps, batch_size, seed, device, on_step)
        seconds = time.perf_counter() - start
    return clip, {
        **training.about(),
        "training_seconds": round(seconds, 1),
        "loss": _curve(losses),
    }


@click.command(cls=Command)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="seed of data, weights and batches"
)
@click.option("--steps", type=click.IntRange(min=1), default=6000, show_default=True, help="training steps")
@click.option(
    "--batch-size",
    type=click.IntRange(min=2),
    default=128,
    show_default=True,
    help="pairs of image and caption in a step",
)
@click.option(
    "--pairs",
    type=click.IntRange(min=2),
    default=150_000,
    show_default=True,
    help="number of pairs in the pretraining set",
)
@click.option("--out", type=click.Path(path_type=Path), default="micro-clip", show_default=True, help="folder to write")
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="device of the training"
)
def main(seed: int, steps: int, batch_size: int, pairs: int, out: Path, device: str) -> None:
    """Pretrain the micro CLIP on rendered images and write it in open_clip's layout, together with pretraining.json."""
    settings = {"seed": seed, "steps": steps, "batch_size": batch_size, "pairs": pairs, "device": device}
    _check(out, device)
    clip, record = _run(seed, steps, batch_size, pairs, device)
    accuracies = _publish(clip, out, settings | record)
    for name, accuracy in accuracies.items():
        click.echo(f"{name:<12}{accuracy:6.1f}")


def _check(out: Path, device: str) -> None:
    """Raises UserError, before the long training, if the result could not be written or the device does not exist."""
    check_writable(out)
    if out.exists() and any(out.iterdir()):
        raise UserError(f"--out {out}: not empty; name a new folder")
    if device == "cuda":
        from benchmarks.runtime.devices import pick_device

        pick_device("cuda")


def _publish(clip: Any, out: Path, about: dict[str, Any]) -> dict[str, float]:
    """Writes the model first, then measures its zero-shot accuracies through the harness."""
    with ready_for_avalanche():
        from benchmarks.pretrain import publish
    publish.publish(clip, out)
    accuracies = publish.zero_shot(out)
    write_json(out / "pretraining.json", about | {"zero_shot": accuracies})
    return accuracies


if __name__ == "__main__":
    main()
