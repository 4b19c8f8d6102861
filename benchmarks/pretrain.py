"""Pretrains the micro CLIP from nothing: `python -m benchmarks.pretrain`."""

import time
from pathlib import Path

import click


CURVE = 40  # points of the loss curve that are kept


@click.command()
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="of data, weights and batches")
@click.option("--steps", type=click.IntRange(min=1), default=4000, show_default=True, help="training steps")
@click.option("--batch-size", type=click.IntRange(min=2), default=256, show_default=True, help="pairs in a step")
@click.option("--pairs", type=click.IntRange(min=2), default=200_000, show_default=True, help="pairs drawn beforehand")
@click.option("--out", type=click.Path(path_type=Path), default="micro-clip", show_default=True, help="folder to write")
@click.option("--device", default="cpu", show_default=True, help="of the training, as torch names it")
def main(seed: int, steps: int, batch_size: int, pairs: int, out: Path, device: str) -> None:
    """Pretrain the micro CLIP on drawn pictures and write it in open_clip's layout, with pretraining.json beside it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from benchmarks.micro.pairs import draw_pairs

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        drawing = progress.add_task("drawing pairs", total=pairs)
        captions, pictures = draw_pairs(pairs, seed, lambda count: progress.advance(drawing, count))

        # Torch comes after the drawing: its processes and threads would only be in the way.
        import open_clip
        import torch

        from benchmarks.files import write_json
        from benchmarks.micro import training
        from benchmarks.micro.publish import publish
        from benchmarks.streams.micro import build

        torch.manual_seed(seed)
        clip = open_clip.create_model(f"local-dir:{training.FOLDER}", load_weights=False)
        stepping = progress.add_task("loss", total=steps)
        losses: list[float] = []

        def on_step(loss: float) -> None:
            losses.append(loss)
            progress.update(stepping, advance=1, description=f"loss {loss:.3f}")

        start = time.perf_counter()
        training.pretrain(clip, captions, pictures, steps, batch_size, seed, torch.device(device), on_step)
        seconds = time.perf_counter() - start
    accuracies = {task.name: round(training.zero_shot(clip, task), 2) for task in build("").tasks}
    publish(clip, out)
    every = max(1, steps // CURVE)
    write_json(
        out / "pretraining.json",
        {
            "seed": seed,
            "steps": steps,
            "batch_size": batch_size,
            "pairs": pairs,
            "device": device,
            "threads": torch.get_num_threads(),
            "training_seconds": round(seconds, 1),
            "versions": {"torch": torch.__version__, "open_clip": open_clip.__version__},
            "loss": [
                round(sum(part) / len(part), 4) for part in (losses[i : i + every] for i in range(0, steps, every))
            ],
            "zero_shot": accuracies,
            "zero_shot_mean": round(sum(accuracies.values()) / len(accuracies), 2),
        },
    )
    for name, accuracy in accuracies.items():
        click.echo(f"{name:<12}{accuracy:6.1f}")
    click.echo(f"{'mean':<12}{sum(accuracies.values()) / len(accuracies):6.1f}")


if __name__ == "__main__":
    main()
