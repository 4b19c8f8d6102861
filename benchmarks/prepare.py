"""Checks a stream's data, and downloads or caches what is missing: `python -m benchmarks.prepare --stream mtil`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import click

from benchmarks.config.command_line import place_options
from benchmarks.config.errors import UserError
from benchmarks.config.recipes import recipe
from benchmarks.config.settings import Splits
from benchmarks.config.terminal import Command, say
from benchmarks.datasets import coop
from benchmarks.datasets.about import info
from benchmarks.datasets.checks import problems
from benchmarks.datasets.download import download
from benchmarks.datasets.opening import check_root, open_dataset
from benchmarks.images.sets import Split
from benchmarks.runtime import files
from benchmarks.runtime.progress import ProgressBar
from benchmarks.streams.base import Plan
from benchmarks.streams.named import build_plan


@dataclass(frozen=True)
class Found:
    """Whether one data set is complete on disk; or one task, of a stream that uses no published data sets.

    Attributes:
        name: of the data set, or of the task.
        state: `complete`, `incomplete` or `missing`.
        words: its numbers of images and classes, or what is wrong and how to get it, in one line.
        splits: its training images and its test images; empty if they cannot be read.
    """

    name: str
    state: str  # complete, incomplete or missing
    words: str
    splits: tuple[Split, ...] = ()


def _counts(splits: tuple[Split, ...], classes: int) -> str:
    train, test = splits
    return f"{len(train)} training images, {len(test)} test images, {classes} classes"


def look(name: str, data_root: Path, splits: Splits = "zscl") -> Found:
    """Returns whether a published data set is complete on disk.

    Args:
        name: the data set's name, such as `Caltech101`.
        data_root: the folder of all published data sets.
        splits: whose splits are wanted: `zscl` or `coop`.
    """
    try:
        opened = open_dataset(name, data_root, splits)
    except UserError as error:
        there = (coop.place(name, data_root) if splits == "coop" else data_root / info(name).folder).exists()
        return Found(name, "incomplete" if there else "missing", str(error).removeprefix(f"{name}: "))
    halves = opened.train, opened.test
    if wrong := problems(opened):
        return Found(name, "incomplete", f"{'; '.join(wrong)}; {opened.info.how}", halves)
    return Found(name, "complete", _counts(halves, len(opened.class_names)), halves)


def look_at_task(name: str, plan: Plan) -> Found:
    """Returns whether the images of one task can be read, for a stream that uses no published data sets, such as a
    folder of own images.

    Args:
        name: the task's name.
        plan: the stream.
    """
    try:
        (task,) = plan.open((name,))
    except UserError as error:
        return Found(name, "incomplete", str(error))
    return Found(name, "complete", _counts((task.train, task.test), len(task.class_names)), (task.train, task.test))


def look_at_all(plan: Plan, data_root: Path, splits: Splits) -> Iterator[Found]:
    """Yields for each published data set of a stream whether it is complete on disk; for a stream that uses none, the
    same of each task.

    Args:
        plan: the stream.
        data_root: the folder of all published data sets.
        splits: whose splits are wanted: `zscl` or `coop`.
    """
    if plan.datasets:
        yield from (look(name, data_root, splits) for name in plan.datasets)
    else:
        yield from (look_at_task(name, plan) for name in plan.names)


def inspect(plan: Plan, data_root: Path, splits: Splits, *, fetch: bool) -> list[Found]:
    """Checks each data set of a stream, or each task if it uses no published data sets; prints a line for each (name,
    state, and numbers or what is wrong), and returns the results in this order.

    Args:
        plan: the stream.
        data_root: the folder of the published data sets.
        splits: whose splits are wanted: `zscl` or `coop`.
        fetch: whether to try to download missing data sets first; incomplete ones are left as they are.
    """
    found = []
    for each in look_at_all(plan, data_root, splits):
        if fetch and each.state == "incomplete":
            each = replace(each, words=f"{each.words}; to have the images fetched anew, move their folder away first")
        if fetch and each.state == "missing":
            if info(each.name).download:
                say(f"{each.name:<13} fetching ...")
            try:
                download(each.name, data_root)
                each = look(each.name, data_root, splits)
            except UserError as error:
                each = Found(each.name, "missing", str(error).removeprefix(f"{each.name}: "))
        print(f"{each.name:<13} {each.state:<10}  {each.words}", flush=True)
        found.append(each)
    return found


def read_images(found: list[Found], model: str, cache: Path | None) -> int:
    """Reads every image of the complete data sets once, prints the errors of unreadable ones, and returns their number.

    Args:
        found: the results of checking the data sets; those that are not complete are passed over.
        model: name of the model, such as `ViT-B-16`; the cache stores images at its input size.
        cache: the folder for decoded images; None stores none.
    """
    # Imported only for --check, since they import torch and open_clip.
    from benchmarks.experiment.backbones.loading import image_size
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


@click.command(cls=Command, params=[*place_options()])
@click.option("--stream", default="mtil", metavar="TEXT", help="name of the stream, as for benchmarks.run  [mtil]")
@click.option(
    "--splits", type=click.Choice(get_args(Splits)), default="zscl", help="whose splits of MTIL's data sets  [zscl]"
)
@click.option("--download", "fetch", is_flag=True, help="download missing data sets, if torchvision can")
@click.option(
    "--check",
    is_flag=True,
    help="read every image of the complete data sets, list unreadable ones, and cache the others",
)
@click.option("--model", metavar="TEXT", help="model whose input size the cache uses  [the stream's default]")
@click.option("--no-cache", is_flag=True, help="with --check: do not cache images")
def main(
    stream: str, splits: Splits, fetch: bool, check: bool, model: str | None, no_cache: bool, data_root: Path,
    cache: Path | None,
) -> None:  # fmt: skip
    """Check for each data set of a stream whether it is complete, or what is missing and how to get it.

    Nothing is written without --download or --check; if interrupted, both continue where they stopped.
    """
    plan = build_plan(stream, data_root, splits)
    place = None if no_cache else cache or files.user_cache()
    if check and place is not None:
        files.check_writable(place)
    if plan.datasets and not fetch:
        check_root(data_root)
    found = inspect(plan, data_root, splits, fetch=fetch)
    bad = read_images(found, model or recipe(stream, "nusa")["model"], place) if check else 0
    if lacking := [each.name for each in found if each.state != "complete"]:
        raise UserError(f"{len(lacking)} of {len(found)} are not ready: {', '.join(lacking)}")
    if bad:
        raise UserError(f"{bad} image{'s' if bad > 1 else ''} cannot be read")


if __name__ == "__main__":
    main()
