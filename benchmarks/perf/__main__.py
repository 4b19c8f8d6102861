"""Measure the harness: `python -m benchmarks.perf --part data`."""

import json
import tempfile
from pathlib import Path

import click


@click.command()
@click.option(
    "--part",
    type=click.Choice(["data", "methods", "memory"]),
    default="data",
    show_default=True,
    help="what is measured",
)
@click.option("--images", type=click.IntRange(min=10), default=2000, show_default=True, help="data: made photographs")
@click.option(
    "--evaluated", type=click.IntRange(min=1), default=256, show_default=True, help="data: images through the model"
)
@click.option(
    "--batch-size", type=click.IntRange(min=2), default=16, show_default=True, help="methods, memory: images in a step"
)
@click.option(
    "--classes", type=click.IntRange(min=2), default=10, show_default=True, help="methods, memory: prompts in a step"
)
@click.option("--model", default="ViT-B-16-quickgelu", show_default=True, help="open_clip model, with random weights")
@click.option("--out", type=click.Path(path_type=Path), help="also write the figures as json")
def main(part: str, images: int, evaluated: int, batch_size: int, classes: int, model: str, out: Path | None) -> None:
    """Measure the way from the image files to the model (data), what a method's step costs beside its parts
    (methods), or what memory it takes beside its own tensors (memory)."""
    from benchmarks.files import check_writable, write_json
    from benchmarks.surroundings import describe, writable_home

    if out:
        check_writable(out.parent)
    with writable_home(), tempfile.TemporaryDirectory() as folder:
        if part == "data":
            from benchmarks.perf import data

            figures = data.measure(images, evaluated, model, Path(folder))
        elif part == "memory":
            from benchmarks.perf import memory

            figures = memory.measure(model, batch_size, classes)
        else:
            from benchmarks.perf import methods

            figures = methods.measure(model, batch_size, classes, Path(folder))
    print(json.dumps(figures, indent=2))
    if out:
        write_json(out, figures | {"model": model, **describe("cpu")})


if __name__ == "__main__":
    main()
