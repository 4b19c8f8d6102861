"""What a study is: the grids of its runs, by stream, what it measures besides, and what makes tables and a figure of both."""

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from matplotlib.figure import Figure

from benchmarks.comparison.collection import Runs
from benchmarks.comparison.tables import Table
from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.sweep.file import block
from benchmarks.sweep.grid import Block


KIND = "study"
SEEDS = (42, 43, 44)  # of every study's runs
Grid = Sequence[Mapping[str, Any]]  # blocks of settings with their alternatives, as a sweep's file has them
Row = Mapping[str, Any]  # texts, numbers, truth values and None by name
Made = TypeVar("Made")


@dataclass(frozen=True)
class Data:
    """What a study measures besides runs.

    Attributes:
        cells: what is measured, each described by texts and numbers; with `--model` and `--pretrained` each has these too.
        quick: the few cells of `--quick`.
        measure: returns the rows of a cell, given the cell, and `data_root` and `cache` as in `nb.run`.
    """

    cells: Sequence[Row]
    quick: Sequence[Row]
    measure: Callable[[Row, Mapping[str, Any]], Iterable[Row]]


@dataclass(frozen=True)
class Study:
    """A study, as its file defines it.

    Attributes:
        grids: its runs, by the stream that they are made for; the first is the one of its page. A block that names a stream
            itself keeps it. A study that only measures has no blocks.
        quick: the few short runs of `--quick`, a minute on two cores.
        tables: returns the tables of the finished runs, and of the rows of `data` if there is some.
        figure: returns the figure of the same.
        alt: what the figure shows, for readers who cannot see it; at most 80 characters.
        not_shown: what the study does not show, a paragraph for its page.
        measure, probe: what each run does besides, as in `nb.run`.
        data: what is measured besides the runs; None for nothing.
    """

    grids: Mapping[str, Grid]
    quick: Grid
    tables: Callable[..., list[Table]]
    figure: Callable[..., Figure]
    alt: str
    not_shown: str
    measure: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()
    data: Data | None = None


@dataclass(frozen=True)
class Named:
    """A study under its name.

    Attributes:
        name: its name on the command line, such as `which-null`.
        question: the first line of its file's docstring.
        reading: the rest of the docstring: which runs there are, and how they are read.
        study: what its file defines.
    """

    name: str
    question: str
    reading: str
    study: Study

    @property
    def stream(self) -> str:
        """The stream of the study's page."""
        return next(iter(self.study.grids))

    def blocks(self, stream: str | None = None, also: Row | None = None, *, quick: bool = False) -> list[Block]:
        """Returns the grid of the study's runs.

        Args:
            stream: the stream; None for that of the page.
            also: settings of every run besides, such as `model`; None for the grid's own.
            quick: whether it is the small grid of `--quick`.

        Raises:
            UserError: the study is not made for the stream.
        """
        stream = self.stream if stream is None else stream
        if stream not in self.study.grids:
            known = list(self.study.grids)
            near = registry.nearest(stream, known)
            raise UserError(f"--stream {stream}: {self.name} is made for {', '.join(known)}{near}")
        grid = self.study.quick if quick else self.study.grids[stream]
        every = also or {}
        return [block({"stream": stream, **each, **every}, f"{self.name}, block {n}") for n, each in enumerate(grid, 1)]

    def cells(self, also: Row | None = None, *, quick: bool = False) -> list[Row]:
        """Returns what the study measures besides its runs.

        Args:
            also: what every cell has besides, such as `model`; None for the study's own.
            quick: whether it is the few cells of `--quick`.
        """
        data = self.study.data
        return [{**cell, **(also or {})} for cell in (data.quick if quick else data.cells)] if data else []

    def make(self, of: Callable[..., Made], runs: Runs, rows: Sequence[Row]) -> Made:
        """Returns what the study's `tables` or `figure` make.

        Args:
            of: one of the two.
            runs: the finished runs.
            rows: of what was measured besides.
        """
        return of(runs, rows) if self.study.data else of(runs)


def later(module: str) -> Callable[[Row, Mapping[str, Any]], Iterable[Row]]:
    """Returns the function `measure` of a module that is imported when it is called: tables and figures need no torch.

    Args:
        module: its full name.
    """

    def measure(cell: Row, options: Mapping[str, Any]) -> Iterable[Row]:
        found: Iterable[Row] = import_module(module).measure(cell, options)
        return found

    return measure


def questions() -> dict[str, str]:
    """Returns the question of each study by its name; none is imported."""
    return {name: source.summary for name, source in registry.sources(KIND).items()}


def find(name: str) -> Named:
    """Returns a study.

    Args:
        name: its name on the command line.

    Raises:
        UserError: there is none of that name; the message offers the nearest.
    """
    source = registry.find(KIND, name)
    question, _, reading = (ast.get_docstring(source.tree) or "").partition("\n")
    return Named(name, question, reading.strip(), source.load().STUDY)
