"""The parts of a stream: tasks in learning order, each with its images, class names and prompts."""

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
    """The origin of a task's images, for the record of a run.

    Attributes:
        dataset: the data set's name; several tasks may be parts of one.
        origin: the data set's web page or archive.
        split: which images are for training and which for testing, in words.
        licence, citation: the licence of the images and how to cite them, as the owner states them.
        expected: the published number of images or classes, any of `train`, `test`, `classes`; empty if none are
            published.
    """

    dataset: str
    origin: str = ""
    split: str = ""
    licence: str = ""
    citation: str = ""
    expected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One task: a data set, or a part of one, with its prompts.

    Attributes:
        name: the task's name in tables and csv headers.
        class_names: the names of its C classes, in label order.
        templates: prompts with one `{}`; training uses the first, evaluation the normalised mean of the text features
            of all.
        train, test: the images for training and for testing, with labels in 0..C - 1.
        source: the origin of the images.
    """

    name: str
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    train: Split
    test: Split
    source: Source

    def part(self, name: str, classes: np.ndarray) -> "Task":
        """Returns a task with some of the classes of this one, and their images.

        Its `source.expected` is empty, since the published counts are those of the whole.

        Args:
            name: the new task's name.
            classes: (C,) int64, the labels of the classes to keep; their order is that of the new labels.
        """
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
    """A stream whose tasks and orders are known by name, while no images have been read from disk yet.

    Attributes:
        names: the names of all tasks, in the default order.
        orders: task names for each named order, for instance `{"I": (...), "II": (...)}`; the first is the default.
        protocol: the protocol's name and its source, in one line.
        open: takes task names and returns these tasks, in this order. A data set that several of them are parts of is
            opened once. Raises UserError if data are missing on disk.
        identity: what the model is told at test time in the protocol: the task (`known`, task-aware), nothing
            (`unknown`, task-agnostic: the classes of all tasks compete), or the tasks learned so far (`seen`,
            class-incremental).
        datasets: names in `benchmarks.datasets` of the data sets of its tasks; empty for other images.
        name: the name of a user's own stream; empty for streams of the command line.
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
    """Tasks in learning order, and the named orders of the stream.

    Attributes:
        tasks: the chosen tasks, in learning order.
        orders: task names for each named order, for instance `{"I": (...), "II": (...)}`; the first is the default.
        protocol: the protocol's name and its source, in one line.
        identity: what the model is told at test time in the protocol: the task (`known`, task-aware), nothing
            (`unknown`, task-agnostic: the classes of all tasks compete), or the tasks learned so far (`seen`,
            class-incremental).
    """

    tasks: tuple[Task, ...]
    orders: dict[str, tuple[str, ...]]
    protocol: str
    identity: Identity = "known"

    def describe(self) -> dict[str, Any]:
        """Returns the content of `stream.json` in a run folder, with the keys `protocol`, `identity` and `tasks`.

        Each task has `name`; `dataset`, `origin`, `split`, `licence`, `citation` and `expected` of its source; the
        numbers `train` and `test` of images and `classes` of classes; and the lists `templates` and `class_names`.
        """
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
    """Checks that nothing follows the colon in a stream's name, for streams like `mtil` that take nothing there.

    Args:
        family: the stream's name before the colon.
        argument: the text after the colon; empty without a colon.

    Raises:
        UserError: the text is not empty.
    """
    if argument:
        raise UserError(f'--stream {family}:{argument}: takes nothing after its name; write "{family}"')
