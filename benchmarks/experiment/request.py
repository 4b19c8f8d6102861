"""What is to be run, checked without torch: settings, tasks, folders, and what the run folder already holds."""

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.config.recipes import ANY_STREAM, innermost, recipe
from benchmarks.config.settings import RunConfig
from benchmarks.config.terminal import say
from benchmarks.experiment import data_files
from benchmarks.experiment.besides import NOTHING, Besides
from benchmarks.experiment.extension import Extension
from benchmarks.experiment.start import Start
from benchmarks.runs import write
from benchmarks.runs.folder import RunFiles
from benchmarks.runs.shapes import about_of
from benchmarks.runtime import files
from benchmarks.runtime.locks import HOLDER
from benchmarks.streams.base import Plan, Stream
from benchmarks.streams.few_shot import few_shot, short
from benchmarks.streams.named import build_plan
from benchmarks.streams.orders import arrange
from strategies import shared, training


NEW = ("preprocessing", "stream_sha256", "strategy_sha256")  # versions before 0.4 did not write them
INPUTS = {  # what an error message calls the inputs whose name in `run.json` does not say it
    "reference_sha256": "reference images or texts",
    "files_sha256": "files that its settings name",
    "strategy_sha256": "code of its strategy",
    "start_sha256": "weights to start from",
    "probes_sha256": "images or texts of probes",
}


@dataclass(frozen=True)
class Places:
    """The folders and files that a run reads or writes.

    Attributes:
        results: the folder of all run folders.
        data_root: the folder of the published data sets.
        cache: the folder for decoded images; None without a cache.
        auxiliary_images: the folder of images that some methods also read; None if not given.
        auxiliary_texts: the file of captions that some methods also read; None if not given.
    """

    results: Path
    data_root: Path
    cache: Path | None
    auxiliary_images: Path | None = None
    auxiliary_texts: Path | None = None

    @property
    def auxiliary(self) -> dict[str, str | None]:
        """The absolute paths of the auxiliary data for `run.json`: `reference_images` and `reference_texts`.

        A value is None where no path was given.
        """
        named = {"reference_images": self.auxiliary_images, "reference_texts": self.auxiliary_texts}
        return {name: str(path.resolve()) if path else None for name, path in named.items()}


def cache_place(named: Path | None, *, wanted: bool) -> Path | None:
    """Returns the folder for decoded images: the given one, or the user's cache folder; None for no cache.

    If the user's cache folder cannot be written, a line on stderr says so and the result is None.

    Args:
        named: the folder that the user gave; None if none was given.
        wanted: whether decoded images are to be stored; False returns None.

    Raises:
        UserError: the folder `named` cannot be written.
    """
    if not wanted:
        return None
    if named is not None:
        files.check_writable(named)
        return named
    if (own := files.user_cache()) is None:
        say("no place for a cache of decoded images; name one with --cache")
    return own


@dataclass(frozen=True)
class Request:
    """A run that was asked for, with all that is needed to do it.

    Attributes:
        config: the strategy, its settings and those that all strategies have.
        places: the folders and files that it reads or writes.
        plan: a stream that was given as an object; None if it was given by name.
        folder: the run folder.
        command: the command or call that starts the same run again, for `run.json`.
        besides: what it measures, sends and writes besides what every run does.
        trusted: whether the config of a model's folder may name a tokenizer that may run code.
        start: the model from which it starts; None for the pretrained one.
        extension: the finished run that it goes on with; None for a run from its first task.
    """

    config: RunConfig
    places: Places
    plan: Plan | None
    folder: Path
    command: str = ""
    besides: Besides = NOTHING
    trusted: bool = False
    start: Start | None = None
    extension: Extension | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the run folder holds a finished run, by the `status` in its `run.json`."""
        return write.is_finished(self.folder)

    def check_finished(self) -> None:
        """Checks that the finished run in the run folder was made with the requested settings and auxiliary data.

        It also deletes the checkpoint and the lock's holder that a killed process left behind. It prints a line on
        stderr if the code of the strategy, or the files that the stream reads, have changed since the run.

        Raises:
            UserError: the run folder holds other settings, the run read other auxiliary data, or a stream given as an
                object had other tasks.
        """
        self.check_same()
        found = write.run_json(self.folder)
        if words := self.besides.not_afterwards:
            say(f"finished before, so {words} is not looked at; --again runs it anew")
        if not self.config.strategy.sha256:
            say(
                "the strategy's code is in no file, so whether it is that of this run is not known; --again runs it anew"
            )
        if other := self.made_by_other(found):
            say(f"{other}; --again runs it anew")
        (self.folder / write.CHECKPOINT).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            (self.folder / HOLDER).unlink()
        if self.plan and not self._has_same_stream():
            raise UserError(
                f"{self.folder}: the finished run there has other tasks, prompts, splits or images; give the stream "
                "another name, or choose another --results"
            )
        if changed := self.changed(found):
            say(f"{changed}: this is the old result, --again runs the present ones")

    def made_by_other(self, found: Mapping[str, Any]) -> str:
        """Returns how the code that made a run differs from today's, if its results may differ by that; else empty.

        Args:
            found: the content of its `run.json`.
        """
        sha256, other = self.config.strategy.sha256, []
        if sha256 and found.get("strategy_sha256", sha256) != sha256:
            other.append("the strategy's code is other now than when this run was made")
        if not self._has_same_version(found):
            other.append("this run was made by another version, whose results may differ")
        return "; ".join(other)

    def check_same(self) -> None:
        """Checks that the finished run in the run folder has the requested settings, and read the requested auxiliary data.

        Raises:
            UserError: it has others.
        """
        write.check_config(self.folder, self.config.flat())
        _check_auxiliary(self.folder, write.run_json(self.folder), self.places.auxiliary)

    @property
    def weights_file(self) -> Path | None:
        """The file that was named whose weights the run begins with; None for a tag, and for a model's own folder."""
        named = self.start.weights if self.start else Path(self.config.common.pretrained or "")
        return named if named.is_file() else None

    def changed(self, found: Mapping[str, Any]) -> str:
        """Returns what of the weights' file or a named stream's data has changed since a finished run; empty if nothing did,
        or if that is not known.

        Args:
            found: the content of its `run.json`.
        """
        file, was = self.weights_file, found.get("weights_file_sha256")
        if file and was and files.checksum([file]) != was:
            return f"the weights in {file} have changed since this run was made"
        stream = self.config.common.stream
        if innermost(stream).startswith(data_files.FOLDER):
            with contextlib.suppress(UserError):
                if not self._has_same_stream():
                    return (
                        "the folders or stream.yaml have changed since this run was made (numbers of images, names, prompts "
                        "or order)"
                    )
        was = found.get("data_sha256")
        if was is None:
            return ""
        now = self.data_sha256(RunFiles(self.folder).json("stream.json"))
        if now in (None, was):
            return ""
        return f"the files that {stream} reads have changed since this run was made (names, sizes or contents)"

    def data_sha256(self, described: Mapping[str, Any]) -> str | None:
        """Returns a digest of the files that a named stream reads, which are not decoded; None if there are none.

        Args:
            described: the stream as `Stream.describe` returns it, and `stream.json` has it.
        """
        if self.plan:
            return None
        datasets = [str(task["dataset"]) for task in described["tasks"]]
        common = self.config.common
        return data_files.digest(common.stream, datasets, self.places.data_root, common.splits)

    def check_unfinished(self) -> None:
        """Checks that an unfinished run in the run folder, if there is one, was begun by code with the same results.

        Raises:
            UserError: it was begun by another version, or with other code of the strategy, or `run.json` is damaged.
        """
        if not (self.folder / "run.json").exists():
            return
        if not self._has_same_version(about_of(RunFiles(self.folder))):
            raise UserError(
                f"{self.folder}: the run there was begun by another version, whose results may differ; finish it with that "
                "version, or move the folder away to start anew"
            )
        if sha256 := self.config.strategy.sha256:
            check_inputs(self.folder, {"strategy_sha256": sha256})

    def _has_same_version(self, found: Mapping[str, Any]) -> bool:
        versions = figures_version(self.config)
        return bool(found.get("figures_version", versions) == versions)  # a version before 0.4 did not write it

    def _has_same_stream(self) -> bool:
        """Whether the stream is by its description that of the run in the folder."""
        stream, written = self.open_stream(), write.run_json(self.folder).get("memory_sha256")
        if stream.describe() != RunFiles(self.folder).json("stream.json"):
            return False
        return self.plan is None or written in (None, in_memory(stream))

    def open_stream(self) -> Stream:
        """Returns the stream of the requested tasks, in their order and with the requested number of training images.

        Raises:
            UserError: data are missing, or a setting names a task that the stream does not have.
        """
        common = self.config.common
        plan = self.plan or build_plan(common.stream, self.places.data_root, common.splits)
        stream = arrange(plan, common.order)
        self._check_names(plan.names, stream)
        if common.shots is None:
            return stream
        few = few_shot(stream, common.shots, common.seed)
        for line in short(stream, common.shots):
            say(line)
        return few

    def _check_names(self, known: tuple[str, ...], stream: Stream) -> None:
        """Settings by task must name tasks or data sets of the stream; names that come from the recipe are ignored."""
        common = self.config.common
        names = [*known, *(task.source.dataset for task in stream.tasks), "default"]
        published = recipe(ANY_STREAM if self.plan else common.stream, common.strategy)
        for setting in ("lr", "iterations"):
            given, usual = getattr(common, setting), published[setting]
            for name in given if isinstance(given, dict) else ():
                if name not in names and name not in (usual if isinstance(usual, dict) else ()):
                    near = registry.nearest(name, names) or f"; there are {', '.join(dict.fromkeys(names[:-1]))}"
                    raise UserError(f'--{setting}: no task or data set "{name}"{near}')


def figures_version(config: RunConfig) -> dict[str, int]:
    """Returns the versions of the results by what decides them: `method`, `shared` parts and training `template`, and of
    a run in bfloat16 `bf16`.

    They are raised by hand when a change alters results.

    Args:
        config: the settings of a run, which name its strategy.
    """
    return {
        "method": config.strategy.about.figures,
        "shared": shared.FIGURES_VERSION,
        "template": training.FIGURES_VERSION,
        **({"bf16": shared.BF16_VERSION} if config.common.precision == "bf16" else {}),
    }


def in_memory(stream: Stream) -> str:
    """Returns a digest, in hexadecimal, of a stream's images that are in memory, and of all labels, in their order.

    Args:
        stream: the tasks.
    """
    total = hashlib.sha256()
    for task in stream.tasks:
        for split in (task.train, task.test):
            total.update(split.labels.tobytes())
            for row in split.rows.tolist() if split.images.drawn else ():
                image = split.images.read(row)
                total.update(f"{image.mode} {image.size}\n".encode() + image.tobytes())
    return total.hexdigest()


def smallest(stream: Stream) -> tuple[str, int]:
    """Returns the task with the fewest training images, and their number.

    Args:
        stream: the tasks.
    """
    small = min(stream.tasks, key=lambda task: len(task.train))
    return small.name, len(small.train)


def check_batch(task: str, images: int, batch: int) -> None:
    """Checks that the smallest task has at least as many training images as a batch.

    Args:
        task: the task's name.
        images: the number of its training images.
        batch: the number of images in a training step.

    Raises:
        UserError: it has fewer.
    """
    if images < batch:
        raise UserError(f"--batch-size {batch}: {task} has {images} training images; take at most as many")


RESUMED = "bring those back, or choose another --results"


def check_inputs(folder: Path, inputs: Mapping[str, Any], advice: str = RESUMED) -> None:
    """Checks that a resumed run reads the same data as when it began; does nothing if the folder has no `run.json`.

    The same name may by now stand for other weights or images.

    Args:
        folder: the run folder.
        inputs: SHA-256 digests by their name in `run.json`, for instance `weights_sha256` and `images_sha256`, and
            `preprocessing`.
        advice: what to do otherwise, for the message.

    Raises:
        UserError: a digest differs from the one in `run.json`.
    """
    found = write.run_json(folder) if (folder / "run.json").exists() else inputs
    for name, sha256 in inputs.items():
        if found.get(name, sha256 if name in NEW else None) != sha256:
            words = INPUTS.get(name, name.removesuffix("_sha256"))
            raise UserError(f"{folder}: the run there began with other {words}, or they have changed since; {advice}")


def check_tables(
    folder: Path, tables: Mapping[str, Any], advice: str = "give the same measurements, or choose another --results"
) -> None:
    """Checks that a resumed run's measurements fill the columns that they filled when it began; a new run passes.

    A table that only one of both has is allowed, and a line on stderr names it: it will have the rows of a part of the
    run.

    Args:
        folder: the run folder.
        tables: the tables of the run's measurements by name, as `run.json` describes them.
        advice: what to do otherwise, for the message.

    Raises:
        UserError: a table has other columns than in `run.json`.
    """
    found = write.run_json(folder) if (folder / "run.json").exists() else {}
    began = found.get("tables", tables)  # a version before 0.4 did not write them
    if not (isinstance(began, dict) and all(isinstance(each, dict) and "columns" in each for each in began.values())):
        raise UserError(
            f"{folder / 'run.json'}: damaged, its tables are no mappings; move the folder away to start anew"
        )
    for name in sorted({*tables, *began}):
        if name not in tables or name not in began:
            say(f"{name}.csv: not measured during the whole run, only in one part of it")
        elif (now := _column_names(tables[name])) != (then := _column_names(began[name])):
            raise UserError(
                f"{folder}: the run there began with the columns {', '.join(then)} in {name}.csv, not {', '.join(now)}; "
                f"{advice}"
            )


def _column_names(table: Mapping[str, Any]) -> list[str]:
    return sorted(column["name"] for column in table["columns"])


def _check_auxiliary(folder: Path, found: Mapping[str, Any], auxiliary: Mapping[str, str | None]) -> None:
    """Raises UserError if a finished run, whose `run.json` was found, read other auxiliary data than requested."""
    for name, place in auxiliary.items():
        if name in found and found[name] != place:
            option, were = f"--{name.replace('_', '-')}", found[name] or "the model's own, or none"
            raise UserError(
                f"{option}: the finished run in {folder} read {were}; name those, or choose another --results"
            )
