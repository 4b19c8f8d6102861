"""Any other stream tested on a tenth of its training images, for choosing settings, written validation:SEED:STREAM.

Of each class of each task a tenth of the training images is held out: never trained on, and tested on in the place of the
test images, which are never read. The draw depends on the seed, the data set and the class alone.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.config.errors import UserError
from benchmarks.config.recipes import VALIDATION
from benchmarks.config.settings import Splits
from benchmarks.streams.base import DATA_ROOT, Plan, Task
from benchmarks.streams.few_shot import draw
from benchmarks.streams.named import build_plan


SHARE = 0.1


def name(stream: str, seed: int) -> str:
    """Returns the name of the stream on whose validation images settings of another stream are chosen.

    Args:
        stream: the other stream's name, such as `micro`.
        seed: the seed of the draw.
    """
    return f"{VALIDATION}:{seed}:{stream}"


def held_out(task: Task, seed: int) -> Task:
    """Returns a task that is tested on a tenth of its training images, and trained on the others.

    A tenth of each class, but at least one image; a class of a single image keeps that for training.

    Args:
        task: the task.
        seed: the seed of the draw, which also depends on the names of data set and class.

    Raises:
        UserError: no class has two training images.
    """
    places = draw(task, lambda count: 0 if count < 2 else max(1, round(SHARE * count)), seed, purpose=VALIDATION)
    if not len(places):
        raise UserError(f"{task.name}: no class has two training images, so none can be held out")
    kept = np.setdiff1d(np.arange(len(task.train)), places)
    return replace(
        task,
        train=task.train.take(kept),
        test=task.train.take(places),
        source=replace(
            task.source, split=f"a tenth of the training images is tested on ({task.source.split})", expected={}
        ),
    )


def _open(inner: Plan, seed: int, chosen: tuple[str, ...]) -> tuple[Task, ...]:
    return tuple(held_out(task, seed) for task in inner.open(chosen))


def build(argument: str, data_root: Path = Path(DATA_ROOT), splits: Splits = "zscl") -> Plan:
    """Returns another stream whose tasks are tested on a tenth of their training images. Nothing is read from disk yet.

    Args:
        argument: the text after the colon of the stream's name: "SEED:STREAM", such as "7:micro".
        data_root: the folder of the published data sets.
        splits: whose splits, class names and templates the data sets have: `zscl` or `coop`.

    Raises:
        UserError: the seed is no number, or the stream is unknown or itself one of this kind. The plan's `open` raises it
            if data are missing.
    """
    seed, _, stream = argument.partition(":")
    if not (seed.isascii() and seed.isdecimal() and len(seed) < 10 and stream):
        raise UserError(
            f"--stream {VALIDATION}:{argument}: expected {VALIDATION}:SEED:STREAM, as in {VALIDATION}:7:micro"
        )
    if stream.partition(":")[0] == VALIDATION:
        raise UserError(f"--stream {VALIDATION}:{argument}: its training images are held out already")
    inner = build_plan(stream, data_root, splits)
    return replace(
        inner,
        protocol=f"{inner.protocol}; tested on a tenth of the training images (seed {int(seed)})",
        open=partial(_open, inner, int(seed)),
    )
