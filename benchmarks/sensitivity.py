"""Says how much a model's accuracy hangs on parts of its weights' spectra: `python -m benchmarks.sensitivity micro`."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from benchmarks import api
from benchmarks.config.command_line import place_options
from benchmarks.config.terminal import Command, Place
from benchmarks.runtime import files
from benchmarks.runtime.environment import ready_for_avalanche


HEAD = ("change", "left", "right", "directions", "relative_norm", "accuracy")


def _numbers(kind: Callable[[str], Any], least: float) -> Callable[..., list[Any]]:
    """Returns click's callback for numbers with commas, each at least `least`; an empty text is none."""

    def read(_: click.Context, option: click.Parameter, text: str) -> list[Any]:
        try:
            found = [kind(each) for each in text.split(",") if each.strip()]
        except ValueError:
            found = [-1]
        if not all(least <= each < 1e9 for each in found):
            raise click.UsageError(
                f"{option.opts[0]}: expected numbers with commas, each at least {least:g}, got {text}"
            )
        return found

    return read


@click.command(cls=Command)
@click.argument("model", metavar="MODEL|RUN")
@click.option("--pretrained", metavar="FILE|TAG", help="weights of MODEL  [those in its folder]")
@click.option("--stream", metavar="NAME", help="the stream on which it is tested  [RUN's, or micro]")
@click.option("--order", metavar="NAME", default="default", help="which tasks: names with commas, or a named order")
@click.option(
    "--remove", "removed", default="1,32,64,96", callback=_numbers(int, 1), metavar="R,...",
    help="numbers of singular directions to take out  [1,32,64,96]",
)  # fmt: skip
@click.option(
    "--norms", default="0.8", callback=_numbers(float, 0), metavar="E,...",
    help="relative Frobenius norms of random updates  [0.8]",
)  # fmt: skip
@click.option("--directions", default=32, type=click.IntRange(min=1), help="directions of an update's side  [32]")
@click.option("--towers", default="both", type=click.Choice(["both", "image", "text"]), help="whose matrices  [both]")
@click.option("--seed", default=0, type=click.IntRange(min=0), help="of all that is drawn  [0]")
@click.option("--device", default="auto", type=click.Choice(["auto", "cpu", "cuda"]), help="[auto: CUDA if available]")
@click.option("-o", "--output", type=Place(), metavar="FILE.csv", help="write the table there too")
@click.option("--trust-model-code", is_flag=True, help="let a local-dir: model name a tokenizer, which may run code")
def main(model: str, output: Path | None, **options: Any) -> None:
    """Test MODEL (micro, an open_clip name, local-dir:FOLDER) or the model of the folder RUN with weights changed.

    In every q, k, v and o the smallest (tail), largest (top) or random singular directions are taken out, and random updates
    are added in the tail on both sides, on one side, anywhere, or on top. Nothing is trained; the accuracy is task-aware, the
    mean over the tasks.
    """
    rows = []
    with ready_for_avalanche():
        found = api.sensitivity(model, **options)
    print(_line(HEAD))
    for row in found:
        rows.append(row)
        print(_line(row), flush=True)
    if output is not None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([HEAD, *rows])
        files.write_text(output, text.getvalue())


def _line(row: tuple[Any, ...]) -> str:
    change, left, right, directions, norm, accuracy = ("" if each is None else each for each in row)
    shown = f"{accuracy:.1f}" if isinstance(accuracy, float) else accuracy
    return f"{change:<8} {left:<7} {right:<7} {directions:>10} {norm:>13} {shown:>9}"


main.params.extend(place_options())

if __name__ == "__main__":
    main()
