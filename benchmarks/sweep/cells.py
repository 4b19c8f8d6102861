"""The cells of a sweep: each an ordinary run with its settings, its command and its folder, checked before any begins."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.config.errors import UserError
from benchmarks.config.registry import Strategy
from benchmarks.config.settings import RunConfig
from benchmarks.experiment.besides import NOTHING, Besides
from benchmarks.experiment.request import Places, Request, check_batch, smallest
from benchmarks.experiment.start import resolved
from benchmarks.runs import write
from benchmarks.sweep.grid import Block
from benchmarks.sweep.values import MOST


@dataclass(frozen=True)
class Shared:
    """What all runs of a sweep have in common besides their settings.

    Attributes:
        places: the folders and files that they read or write.
        besides: what they measure, send and write besides what every run does.
        plots: whether each run's `plots/` is drawn at its end.
        trusted: whether the config of a model's folder may name a tokenizer that may run code.
        words: the options of `python -m benchmarks.run` that say all this.
    """

    places: Places
    besides: Besides = NOTHING
    plots: bool = False
    trusted: bool = False
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes:
        given: its settings by name, as the grid names them.
        request: the run, its settings resolved and checked.
        tasks: number of tasks of its stream; 0 if the stream was not opened.
        searched: the settings among whose values a search chooses, of those that its strategy has.
    """

    given: Mapping[str, Any]
    request: Request
    tasks: int
    searched: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.request.folder

    @property
    def name(self) -> str:
        """The run folder below that of all results, such as `micro/nusa/seed42`."""
        return self.folder.relative_to(self.request.places.results).as_posix()


def cells(blocks: Iterable[Block], shared: Shared, *, opened: bool = True) -> list[Cell]:
    """Returns the runs of a sweep's blocks, in their order. Torch is not imported.

    Args:
        blocks: alternatives of settings.
        shared: what all runs have in common.
        opened: whether each stream is opened once, to see whether its data are there and suffice for a batch, and whether
            auxiliary data are named where a method reads some.

    Raises:
        UserError: a setting or a value is wrong, two runs have the same folder or are the same, data are missing, no
            method reads the auxiliary data that are named, or there are no runs or too many.
    """
    found: dict[Path, Cell] = {}
    same: dict[str, Cell] = {}
    streams = _Streams()
    for block in blocks:
        for given in block.cells():
            try:
                asked = request(given, shared)
                searched = tuple(name for name in block.searched if name in given)
                tasks = streams.tasks(asked) if opened else ()
                cell = Cell(given, asked, len(tasks), searched)
            except UserError as error:
                raise block.at(error) from error
            if (other := found.setdefault(cell.folder, cell)) is not cell:
                raise block.at(
                    UserError(f"{cell.folder}: two runs have this folder, {said(other.given)} and {said(given)}")
                )
            if opened and (other := same.setdefault(_alike(asked, tasks), cell)) is not cell:
                raise block.at(
                    UserError(f"two runs are the same, in an order by two names: {other.folder} and {cell.folder}")
                )
            if len(found) > MOST:
                raise UserError(f"more than {MOST} runs; split the sweep")
    if not found:
        raise UserError("no run to do; name at least one strategy and one value of each setting")
    _check_auxiliary(found.values(), shared.places)
    return list(found.values())


def _alike(asked: Request, tasks: tuple[str, ...]) -> str:
    """A text that is the same for runs with the same settings and tasks, whatever their order is called."""
    return repr([tasks, {name: value for name, value in asked.config.flat().items() if name != "order"}])


def _check_auxiliary(found: Iterable[Cell], places: Places) -> None:
    """Raises UserError if auxiliary data are named that no run reads."""
    read = {what for cell in found for what in _read_by(cell.request.config)}
    for what, place in (("images", places.auxiliary_images), ("texts", places.auxiliary_texts)):
        if place is not None and what not in read:
            raise UserError(f"--reference-{what}: no method of the sweep reads {what} besides the tasks'; leave it out")


def _read_by(config: RunConfig, unknown: tuple[str, ...] = ("images", "texts")) -> tuple[str, ...]:
    """What auxiliary data a run reads; where the method's source does not tell, it is imported, and torch with it."""
    return *_known(config.strategy, "reads", unknown), *config.reads


def _known(strategy: Strategy, name: str, unknown: Any) -> Any:
    """An attribute of a method's plugin by its name; `unknown` where even the class leaves it to its objects."""
    said = getattr(strategy, name)
    found = getattr(strategy.plugin(), name) if said is None else said
    return unknown if isinstance(found, property) else found


def request(given: Mapping[str, Any], shared: Shared) -> Request:
    """Returns the run of one cell, its settings resolved and checked; of auxiliary data it has what its method reads.

    Args:
        given: the settings by name.
        shared: what all runs have in common.

    Raises:
        UserError: a setting is unknown or has a wrong value.
    """
    config, start = resolved(given)
    reads = _read_by(config)
    places = replace(
        shared.places,
        auxiliary_images=shared.places.auxiliary_images if "images" in reads else None,
        auxiliary_texts=shared.places.auxiliary_texts if "texts" in reads else None,
    )
    named = {"--reference-images": places.auxiliary_images, "--reference-texts": places.auxiliary_texts}
    values = config.flat()
    words = [word for name, value in given.items() for word in _option(name, value, values.get(name))]
    words += [word for name, place in named.items() if place for word in (name, str(place))]
    command = shlex.join(["python", "-m", "benchmarks.run", *words, *shared.words])
    folder = write.run_path(places.results, config)
    return Request(config, places, None, folder, command, shared.besides, shared.trusted, start)


def _option(name: str, value: Any, resolved: Any) -> list[str]:
    """The words of `benchmarks.run` for a setting: an option with its value, or a switch."""
    option = name.replace("_", "-")
    if isinstance(resolved, bool):
        return [f"--{option}" if resolved else f"--no-{option}"]
    return [f"--{option}", text(value)]


def text(value: Any) -> str:
    """Returns a setting's value as a command line takes it: lists with commas, values by task as `1e-5,Aircraft=5e-5`.

    Args:
        value: a text, number or truth value, a list of them, or a dict by the names of tasks.
    """
    if isinstance(value, Mapping):
        return ",".join(str(each) if name == "default" else f"{name}={each}" for name, each in value.items())
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def said(given: Mapping[str, Any]) -> str:
    """Returns a cell's settings in words, such as `nusa seed=42 rho=0.9`.

    Args:
        given: the settings by name.
    """
    return " ".join(text(value) if name == "strategy" else f"{name}={text(value)}" for name, value in given.items())


class _Streams:
    """Opens each stream of a sweep once in each order, and checks what a run needs of it."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], tuple[tuple[str, ...], tuple[str, int]]] = {}  # all tasks, and the smallest

    def tasks(self, asked: Request) -> tuple[str, ...]:
        """Returns the names of a run's tasks, in their order.

        Raises:
            UserError: data are missing, a setting names a task that the stream does not have, or a batch is too large.
        """
        common, strategy = asked.config.common, asked.config.strategy
        if common.model != "micro":  # for which auxiliary data are drawn where none are given
            for what, place in zip(("images", "texts"), asked.places.auxiliary.values(), strict=True):
                if what in _read_by(asked.config, unknown=()) and place is None:
                    raise UserError(
                        f"{strategy.name} reads {what} besides the tasks'; name them with --reference-{what}"
                    )
        named = [repr(value) for value in (common.lr, common.iterations) if isinstance(value, dict)]
        key = (common.stream, common.order, common.splits, str(common.shots), *named)
        if key not in self._known:
            stream = asked.open_stream()
            self._known[key] = tuple(task.name for task in stream.tasks), smallest(stream)
        tasks, small = self._known[key]
        if _known(strategy, "trains", False):
            check_batch(*small, common.batch_size)
        return tasks
