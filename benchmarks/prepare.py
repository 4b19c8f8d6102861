"""Say what is there of a stream's data, and make the rest ready: `python -m benchmarks.prepare --stream mtil`."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click

from benchmarks.config import registry
from benchmarks.config.command_line import place_options
from benchmarks.config.errors import UserError
from benchmarks.config.recipes import recipe, stream_family
from benchmarks.datasets.about import info
from benchmarks.datasets.checks import problems
from benchmarks.datasets.download import download
from benchmarks.datasets.opening import check_root, open_dataset
from benchmarks.images.sets import Split
from benchmarks.runtime import files
from benchmarks.runtime.progress import ProgressBar
from benchmarks.streams.base import Plan


@dataclass(frozen=True)
class Found:
    """One data set: what there is to say of it, and its images if they can be read."""

    name: str
    state: str  # complete, incomplete or missing
    words: str
    splits: tuple[Split, ...] = ()


def _counts(splits: tuple[Split, ...], classes: int) -> str:
    train, test = splits
    return f"{len(train)} training images, {len(test)} test images, {classes} classes"


def look(name: str, data_root: Path) -> Found:
    """A published data set as it lies below the data root."""
    try:
        opened = open_dataset(name, data_root)
    except UserError as error:
        there = (data_root / info(name).folder).exists()
        return Found(name, "incomplete" if there else "missing", str(error).removeprefix(f"{name}: "))
    splits = opened.train, opened.test
    if wrong := problems(opened):
        return Found(name, "incomplete", f"{'; '.join(wrong)}; {opened.info.how}", splits)
    return Found(name, "complete", _counts(splits, len(opened.class_names)), splits)


def look_at_task(name: str, plan: Plan) -> Found:
    """A task of a stream that has no published data sets behind it."""
    try:
        (task,) = plan.open((name,))
    except UserError as error:
        return Found(name, "incomplete", str(error))
    return Found(name, "complete", _counts((task.train, task.test), len(task.class_names)), (task.train, task.test))


def look_at_all(plan: Plan, data_root: Path) -> Iterator[Found]:
    """Each data set, or each task where there are none, in the stream's order."""
    if plan.datasets:
        yield from (look(name, data_root) for name in plan.datasets)
    else:
        yield from (look_at_task(name, plan) for name in plan.names)


def inspect(plan: Plan, data_root: Path, *, fetch: bool) -> list[Found]:
    """Prints a line for each data set, as soon as it is known; with `fetch`, after trying to download what is missing."""
    found = []
    for each in look_at_all(plan, data_root):
        if fetch and each.state == "incomplete":
            each = replace(each, words=f"{each.words}; to have it fetched anew, move it away first")
        if fetch and each.state == "missing":
            if info(each.name).download:
                print(f"{each.name:<13} fetching ...", file=sys.stderr)
            try:
                download(each.name, data_root)
                each = look(each.name, data_root)
            except UserError as error:
                each = Found(each.name, "missing", str(error).removeprefix(f"{each.name}: "))
        print(f"{each.name:<13} {each.state:<10}  {each.words}", flush=True)
        found.append(each)
    return found


def read_images(found: list[Found], model: str, cache: Path | None) -> int:
    """Reads every image of what is complete once, names each that can't be read, and returns their number."""
    # Imported for --check alone: they bring torch and open_clip.
    from benchmarks.backbones.loading import image_size
    from benchmarks.images.opener import Opener

    bad: list[str] = []
    splits = [split for each in found if each.state == "complete" for split in each.splits]
    with ProgressBar() as bar:
        read = Opener(image_size(model), cache, bar).read_all(splits, lambda error: bad.append(str(error)))
    cached = sum(map(len, splits)) - read
    before = f", {cached} were cached before and have their pixels still" if cached else ""
    if splits:
        print("\n".join(bad) if bad else f"read {read} images, all good{before}")
    return len(bad)


@click.command(params=[*place_options()])
@click.option("--stream", default="mtil", metavar="TEXT", help="as for benchmarks.run  [mtil]")
@click.option("--download", "fetch", is_flag=True, help="fetch what is missing, where torchvision can")
@click.option(
    "--check",
    is_flag=True,
    help="read every image of what is complete once, name the bad ones, and keep the others in the cache",
)
@click.option("--model", metavar="TEXT", help="whose image size the cache gets  [the stream's own]")
@click.option("--no-cache", is_flag=True, help="with --check: keep nothing")
def main(
    stream: str, fetch: bool, check: bool, model: str | None, no_cache: bool, data_root: Path, cache: Path | None
) -> None:
    """Say of each data set of a stream whether it is there and complete, or what is missing and how to get it.

    Nothing is written without --download or --check; both go on where they were stopped.
    """
    try:
        family, argument = stream_family(stream)
        plan = registry.find("stream", family).load().build(argument, data_root)
        place = None if no_cache else cache or files.user_cache()
        if check and place is not None:
            files.check_writable(place)
        if plan.datasets and not fetch:
            check_root(data_root)
        found = inspect(plan, data_root, fetch=fetch)
        bad = read_images(found, model or recipe(stream, "nusa")["model"], place) if check else 0
        if lacking := [each.name for each in found if each.state != "complete"]:
            raise UserError(f"{len(lacking)} of {len(found)} are not ready: {', '.join(lacking)}")
        if bad:
            raise UserError(f"{bad} image{'s' if bad > 1 else ''} cannot be read")
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except (UserError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
