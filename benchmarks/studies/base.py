"""What a study is: the grids of its runs, by stream, and the functions that make its tables and its figure of them."""

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Study:
    """A study, as its file defines it.

    Attributes:
        grids: its runs, by the stream that they are made for; the first is the one of its page. A block that names a stream
            itself keeps it.
        quick: the few short runs of `--quick`, a minute on two cores.
        tables: returns the tables of the finished runs.
        figure: returns the figure of the finished runs.
        alt: what the figure shows, for readers who cannot see it; at most 80 characters.
        not_shown: what the study does not show, a paragraph for its page.
        measure, probe: what each run does besides, as in `nb.run`.
    """

    grids: Mapping[str, Grid]
    quick: Grid
    tables: Callable[[Runs], list[Table]]
    figure: Callable[[Runs], Figure]
    alt: str
    not_shown: str
    measure: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()


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

    def blocks(self, stream: str | None = None, model: str | None = None, *, quick: bool = False) -> list[Block]:
        """Returns the grid of the study's runs.

        Args:
            stream: the stream; None for that of the page.
            model: of every run, as `--model` of `benchmarks.run`; None for the stream's own.
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
        also = {} if model is None else {"model": model}
        return [block({"stream": stream, **each, **also}, f"{self.name}, block {n}") for n, each in enumerate(grid, 1)]


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
