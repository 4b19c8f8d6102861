"""What is to be run, checked as far as that goes without torch: settings, tasks, places, and what lies there already."""

import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.config.recipes import ANY_STREAM, recipe, stream_family
from benchmarks.config.settings import RunConfig
from benchmarks.runs import write
from benchmarks.runtime import files
from benchmarks.streams.base import Plan, Stream
from benchmarks.streams.few_shot import few_shot, short
from benchmarks.streams.orders import arrange


@dataclass(frozen=True)
class Places:
    """Where things lie.

    Attributes:
        results: run folders.
        data_root: published data sets.
        cache: decoded images; None without a cache.
        auxiliary_images, auxiliary_texts: a folder and a file that some methods read besides; None where none is named.
    """

    results: Path
    data_root: Path
    cache: Path | None
    auxiliary_images: Path | None = None
    auxiliary_texts: Path | None = None

    @property
    def auxiliary(self) -> dict[str, str | None]:
        """What was named, as `run.json` has it; None is the micro CLIP's own, or nothing."""
        named = {"reference_images": self.auxiliary_images, "reference_texts": self.auxiliary_texts}
        return {name: str(path.resolve()) if path else None for name, path in named.items()}


def cache_place(named: Path | None, *, wanted: bool) -> Path | None:
    """Where decoded images are kept: the folder named, or the user's own cache; None for nowhere.

    Raises:
        UserError: the folder named can't be written; the user's own is done without then, which is said.
    """
    if not wanted:
        return None
    if named is not None:
        files.check_writable(named)
        return named
    if (own := files.user_cache()) is None:
        print("no place for a cache of decoded images; name one with --cache", file=sys.stderr)
    return own


@dataclass(frozen=True)
class Request:
    """One run that somebody asked for.

    Attributes:
        plan: a stream that was given as an object; None where a name says which.
        folder: of the run.
        command: what would ask for it again, for `run.json`.
        measure: names of measurements besides those taken by default.
    """

    config: RunConfig
    places: Places
    plan: Plan | None
    folder: Path
    command: str = ""
    measure: tuple[str, ...] = ()

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end before."""
        return write.is_finished(self.folder)

    def check_finished(self) -> None:
        """For a finished run: raises UserError where the folder holds other settings or read other auxiliary data.

        A checkpoint that a kill left behind is taken away, and it is said where a user's own images have changed since.
        """
        write.check_config(self.folder, self.config.flat())
        _check_auxiliary(self.folder, self.places.auxiliary)
        (self.folder / write.CHECKPOINT).unlink(missing_ok=True)
        if self.config.common.stream.startswith("folder:"):
            with contextlib.suppress(UserError):
                if self.open_stream().describe() != files.read_json(self.folder / "stream.json"):
                    print("the folders have other images or names now than when this run was made", file=sys.stderr)

    def open_stream(self) -> Stream:
        """The tasks that the settings mean.

        Raises:
            UserError: data that are missing, or settings of tasks that the stream does not have.
        """
        common = self.config.common
        plan = self.plan or build_plan(common.stream, self.places.data_root)
        stream = arrange(plan, common.order)
        self._check_names(plan.names, stream)
        if common.shots is None:
            return stream
        few = few_shot(stream, common.shots, common.seed)
        for line in short(stream, common.shots):
            print(line, file=sys.stderr)
        return few

    def _check_names(self, known: tuple[str, ...], stream: Stream) -> None:
        """Settings by task must name tasks or data sets of the stream; what a recipe names beyond them does no harm."""
        common = self.config.common
        names = [*known, *(task.source.dataset for task in stream.tasks), "default"]
        published = recipe(ANY_STREAM if self.plan else common.stream, common.strategy)
        for setting in ("lr", "iterations"):
            given, usual = getattr(common, setting), published[setting]
            for name in given if isinstance(given, dict) else ():
                if name not in names and name not in (usual if isinstance(usual, dict) else ()):
                    near = registry.nearest(name, names) or f"; there are {', '.join(dict.fromkeys(names[:-1]))}"
                    raise UserError(f'--{setting}: no task or data set "{name}"{near}')


def build_plan(stream: str, data_root: Path) -> Plan:
    """The plan of a stream by its name on the command line. Raises UserError for an unknown one, or what it misses."""
    family, argument = stream_family(stream)
    plan: Plan = registry.find("stream", family).load().build(argument, data_root)
    return plan


def check_batch(stream: Stream, batch: int) -> None:
    """Raises UserError for a batch larger than a task."""
    small = min(stream.tasks, key=lambda task: len(task.train))
    if len(small.train) < batch:
        raise UserError(
            f"--batch-size {batch}: {small.name} has {len(small.train)} training images; take at most as many"
        )


def check_inputs(folder: Path, inputs: Mapping[str, Any]) -> None:
    """A run that goes on must stand on the weights and images it began with, also where the same name now means others.

    Args:
        inputs: digests by their name in `run.json`.
    """
    found = write.run_json(folder) if (folder / "run.json").exists() else inputs
    for name, sha256 in inputs.items():
        if found.get(name) != sha256:
            what = {"reference_sha256": "reference images or texts", "files_sha256": "files that its settings name"}
            words = what.get(name, name.removesuffix("_sha256"))
            raise UserError(
                f"{folder}: the run there began with other {words}; name those again, or choose another --results"
            )


def _check_auxiliary(folder: Path, auxiliary: Mapping[str, str | None]) -> None:
    """A finished run is shown for the auxiliary data that it read, and for no others."""
    found = write.run_json(folder)
    for name, place in auxiliary.items():
        if name in found and found[name] != place:
            option, were = f"--{name.replace('_', '-')}", found[name] or "the model's own, or none"
            raise UserError(
                f"{option}: the finished run in {folder} read {were}; name those, or choose another --results"
            )
