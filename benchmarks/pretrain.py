"""Pretrains the micro CLIP from nothing: `python -m benchmarks.pretrain`."""

import time
from pathlib import Path
from typing import Any

import click

from benchmarks.errors import UserError


CURVE = 40  # points of the loss curve that are kept


def _curve(losses: list[float]) -> list[float]:
    """About CURVE means over equal parts."""
    every = max(1, len(losses) // CURVE)
    parts = [losses[first : first + every] for first in range(0, len(losses), every)]
    return [round(sum(part) / len(part), 4) for part in parts]


def _run(seed: int, steps: int, batch_size: int, pairs: int, device: str) -> tuple[Any, dict[str, Any]]:
    """The trained model, and what there is to say about its training."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from benchmarks.micro.pairs import draw_pairs

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        drawing = progress.add_task("drawing pairs", total=pairs)
        captions, pictures = draw_pairs(pairs, seed, lambda count: progress.advance(drawing, count))

        # Torch comes after the drawing: its threads would only be in the way.
        import open_clip
        import torch

        from benchmarks.micro import training

        torch.manual_seed(seed)
        clip = training.new_clip()
        stepping = progress.add_task("loss", total=steps)
        losses: list[float] = []

        def on_step(loss: float) -> None:
            losses.append(loss)
            progress.update(stepping, advance=1, description=f"loss {loss:.3f}")

        start = time.perf_counter()
        training.pretrain(clip, captions, pictures, steps, batch_size, seed, torch.device(device), on_step)
        seconds = time.perf_counter() - start
    return clip, {
        "threads": torch.get_num_threads(),
        "training_seconds": round(seconds, 1),
        "versions": {"torch": torch.__version__, "open_clip": open_clip.__version__},
        "loss": _curve(losses),
    }


@click.command()
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="of data, weights and batches")
@click.option("--steps", type=click.IntRange(min=1), default=6000, show_default=True, help="training steps")
@click.option("--batch-size", type=click.IntRange(min=2), default=128, show_default=True, help="pairs in a step")
@click.option("--pairs", type=click.IntRange(min=2), default=150_000, show_default=True, help="pairs drawn beforehand")
@click.option("--out", type=click.Path(path_type=Path), default="micro-clip", show_default=True, help="folder to write")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="of the training")
def main(seed: int, steps: int, batch_size: int, pairs: int, out: Path, device: str) -> None:
    """Pretrain the micro CLIP on drawn pictures and write it in open_clip's layout, with pretraining.json beside it."""
    settings = {"seed": seed, "steps": steps, "batch_size": batch_size, "pairs": pairs, "device": device}
    clip, record = _run(seed, steps, batch_size, pairs, device)

    from benchmarks.files import write_json
    from benchmarks.micro.publish import publish
    from benchmarks.micro.training import zero_shot
    from benchmarks.streams.micro import build

    accuracies = {task.name: round(zero_shot(clip, task), 2) for task in build("").tasks}
    accuracies["mean"] = round(sum(accuracies.values()) / len(accuracies), 2)
    try:
        publish(clip, out)
        write_json(out / "pretraining.json", settings | record | {"zero_shot": accuracies})
    except UserError as error:
        raise click.ClickException(str(error)) from error
    for name, accuracy in accuracies.items():
        click.echo(f"{name:<12}{accuracy:6.1f}")


if __name__ == "__main__":
    main()
