"""Streams: what a task is. One file here for each family of streams, its name the name on the command line.

A family's module starts with a one-line docstring (shown by `--list`), imports neither torch nor Avalanche when it is
imported, and has `build(argument: str, data_root: Path) -> Plan`, where `argument` is what follows the colon in
`--stream folder:PATH` (empty without one) and `data_root` the folder in which published data sets lie. `build` reads no more
than it needs to name the tasks; `benchmarks.streams.orders.arrange` makes a plan and an order into a stream. Its default settings
stand in `benchmarks/recipes/<family>.yaml`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from PIL import Image

from benchmarks.config.errors import UserError
from benchmarks.config.settings import DATA_ROOT as DATA_ROOT


Identity = Literal["known", "unknown", "seen"]


@dataclass(frozen=True)
class Images:
    """Images as their owner keeps them: a whole data set, or one published half of it. Tasks are cut out of these.

    Attributes:
        name: for messages and the cache, for instance `Caltech101` or `Food-train`.
        count: how many there are.
        read: image i, in its own size and mode; the backbone's transform comes later.
        where: what to call image i in a message, its file if it has one of its own.
        fingerprint: a text that changes when the data change, made when it is asked for; None for pictures that are
            never kept on disk.
        drawn: whether they are made when they are read, and so few that memory holds them where there is no cache.
    """

    name: str
    count: int
    read: Callable[[int], Image.Image]
    where: Callable[[int], str]
    fingerprint: Callable[[], str] | None = None
    drawn: bool = False


@dataclass(frozen=True)
class Split:
    """The images of one task, for training or for testing.

    Attributes:
        images: where they come from.
        rows: (N,) int64, which of them, in order.
        labels: (N,) int64, the class of each as an index into the task's class names.
    """

    images: Images
    rows: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: np.ndarray) -> "Split":
        """The images at these places of this split."""
        return replace(self, rows=self.rows[places], labels=self.labels[places])

    def of_classes(self, classes: np.ndarray) -> "Split":
        """Only the images of these classes (C,), relabelled by their place among them."""
        kept = self.take(np.flatnonzero(np.isin(self.labels, classes)))
        place = {label: new for new, label in enumerate(classes.tolist())}
        return replace(kept, labels=np.array([place[label] for label in kept.labels.tolist()], dtype=np.int64))


@dataclass(frozen=True)
class Source:
    """Where a task's images come from, for the record.

    Attributes:
        dataset: the data set's name; several tasks may be cut out of one.
        origin: its page or archive.
        split: which images are for training and which for testing, in words.
        licence, citation: as its owner states them.
        expected: published counts, any of `train`, `test`, `classes`; empty where nobody published any.
    """

    dataset: str
    origin: str = ""
    split: str = ""
    licence: str = ""
    citation: str = ""
    expected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One data set, or a part of one, with its prompts.

    Attributes:
        name: as it appears in tables and csv headers.
        class_names: C names, in label order.
        templates: prompts with one `{}`; training uses the first, evaluation the normalised mean of all.
    """

    name: str
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    train: Split
    test: Split
    source: Source

    def part(self, name: str, classes: np.ndarray) -> "Task":
        """The task of these classes (C,) alone, in this order. Published counts are the whole's, so a part has none."""
        return replace(
            self,
            name=name,
            class_names=tuple(self.class_names[label] for label in classes.tolist()),
            train=self.train.of_classes(classes),
            test=self.test.of_classes(classes),
            source=replace(self.source, expected={}),
        )


@dataclass(frozen=True)
class Plan:
    """A stream before anything is read from disk.

    Attributes:
        names: all tasks, in the default order.
        orders, protocol, identity: as in `Stream`.
        datasets: names in `benchmarks.datasets` of those that its tasks are cut from; empty for other images.
        open: opens the tasks of these names, in this order: all in one call, so that a data set that several of them are cut
            from is opened once. Raises UserError for what is missing on disk.
    """

    names: tuple[str, ...]
    orders: dict[str, tuple[str, ...]]
    protocol: str
    open: Callable[[tuple[str, ...]], tuple[Task, ...]]
    identity: Identity = "known"
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stream:
    """Tasks in the order in which they are learned, and the orders that this stream knows by name.

    Attributes:
        tasks: those that were chosen, in the order in which they are learned.
        orders: task names for each named order, for instance `{"I": (...), "II": (...)}`; the first is the default.
        protocol: the protocol's name and its source, in a line.
        identity: what a model is told at test time, which decides the matrix that the protocol reports: the task
            (`known`), nothing (`unknown`: all classes compete), or which classes have been learned so far (`seen`).
    """

    tasks: tuple[Task, ...]
    orders: dict[str, tuple[str, ...]]
    protocol: str
    identity: Identity = "known"


def refuse_argument(family: str, argument: str) -> None:
    """For families that are one stream. Raises UserError for anything after the colon."""
    if argument:
        raise UserError(f'--stream {family}:{argument}: takes nothing after its name; write "{family}"')
