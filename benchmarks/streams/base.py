"""What a stream is: tasks in the order in which they are learned, each with its images, class names and prompts."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from benchmarks.config.errors import UserError
from benchmarks.config.settings import DATA_ROOT as DATA_ROOT
from benchmarks.images.sets import Split


Identity = Literal["known", "unknown", "seen"]


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
        name: of a stream that is none of the command line's; empty for those.
    """

    names: tuple[str, ...]
    orders: dict[str, tuple[str, ...]]
    protocol: str
    open: Callable[[tuple[str, ...]], tuple[Task, ...]]
    identity: Identity = "known"
    datasets: tuple[str, ...] = ()
    name: str = ""


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

    def describe(self) -> dict[str, Any]:
        """What `stream.json` in a run folder says of it: protocol, identity, and each task with its counts and prompts."""
        return {
            "protocol": self.protocol,
            "identity": self.identity,
            "tasks": [_describe(task) for task in self.tasks],
        }


def _describe(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        **asdict(task.source),
        "train": len(task.train),
        "test": len(task.test),
        "classes": len(task.class_names),
        "templates": list(task.templates),
        "class_names": list(task.class_names),
    }


def refuse_argument(family: str, argument: str) -> None:
    """For families that are one stream. Raises UserError for anything after the colon."""
    if argument:
        raise UserError(f'--stream {family}:{argument}: takes nothing after its name; write "{family}"')
