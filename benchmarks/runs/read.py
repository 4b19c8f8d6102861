"""A run folder, read; `results/README.md` describes its files. Needs neither torch nor Avalanche, nor pandas until the
weights are asked for, so that a thousand of them are read in seconds."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NotRequired

import numpy as np
import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic asks for it below Python 3.12

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.runs import schema, tables
from benchmarks.runs.folder import RunFiles
from benchmarks.runs.metrics import class_incremental, summarise
from strategies.about import About


if TYPE_CHECKING:
    import pandas as pd

# By what the protocol tells a model at test time: the file of the accuracy matrix, and how that reads.
MATRICES = {
    "known": ("accuracy.csv", "task known"),
    "unknown": ("accuracy_agnostic.csv", "task unknown"),
    "seen": ("accuracy_seen.csv", "among the classes seen so far"),
}
ROUNDING = 1e-6  # points; the matrix and its metrics are written with full precision


class _Open(TypedDict):
    """Files may hold more than is checked."""

    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # type: ignore[misc]


class _Config(_Open):
    strategy: str
    stream: str
    seed: int
    order: str
    model: str
    pretrained: NotRequired[str | None]
    shots: NotRequired[int | None]


class _Task(_Open):
    test: int


class _Stream(_Open):
    protocol: str
    identity: Literal["known", "unknown", "seen"]
    tasks: list[_Task]


class _Seconds(_Open):
    training: float
    evaluation: float


class _Cost(_Open):
    trained_parameters: list[int]
    carried_bytes: list[int]
    reference_images: NotRequired[int]
    peak_memory_bytes: int
    peak_gpu_memory_bytes: NotRequired[int | None]
    total_seconds: _Seconds


class _About(_Open):
    status: str
    weights_sha256: NotRequired[str]
    reference_sha256: NotRequired[str]
    versions: NotRequired[dict[str, str]]
    git: NotRequired[dict[str, Any] | None]
    hardware: NotRequired[dict[str, Any]]


CONFIG, STREAM, COST, ABOUT = (TypeAdapter[Any](shape) for shape in (_Config, _Stream, _Cost, _About))
METHOD = TypeAdapter[Any](About)


@dataclass(frozen=True)
class Protocol:
    """How a stream was tested.

    Attributes:
        name: the protocol, in words.
        identity: of `MATRICES`, the one that the protocol reports.
        tests: (T,) test images of each task, in the run's order; empty in folders from before 0.2.
        digest: of all that `stream.json` says, the tasks in any order: equal for equal splits, names, templates and protocol.
    """

    name: str
    identity: str
    tests: tuple[int, ...]
    digest: str

    @property
    def accuracy_identity(self) -> str:
        """The matrix whose Transfer, Avg and Last the protocol reports; `seen` has none, there the task is known."""
        return "known" if self.identity == "seen" else self.identity


@dataclass(frozen=True, eq=False)
class Run:
    """One run folder. What only some uses need is read when it is asked for, and says then what is wrong with it.

    Attributes:
        folder: the run folder; a packed run's files are in the zip file of that name.
        tasks: the T names in the order in which they are learned.
        accuracy: by `MATRICES`, (T+1, T) percent, row 0 before any training; NaN is unmeasured. Without `seen` in folders
            from before 0.2.
    """

    folder: Path
    tasks: tuple[str, ...]
    accuracy: dict[str, np.ndarray]

    @property
    def files(self) -> RunFiles:
        """The files of the run folder, packed or not."""
        return RunFiles(self.folder)

    @cached_property
    def config(self) -> dict[str, Any]:
        """`config.yaml`, and of settings that came later what they are by default."""
        file = self.files.at("config.yaml")
        try:
            # The C loader where there is one: six times as fast.
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            found = yaml.load(self.files.text("config.yaml"), Loader=loader)
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserError(f"{file}: damaged, not valid YAML") from error
        return schema.complete(_checked(file, found, CONFIG))

    @cached_property
    def protocol(self) -> Protocol:
        """What matters of `stream.json` when runs are set beside each other."""
        file = self.files.at("stream.json")
        if not self.files.has("stream.json") and "seen" not in self.accuracy:
            digest = hashlib.sha256("\n".join(sorted(self.tasks)).encode()).hexdigest()
            return Protocol("not written down (before version 0.2)", "known", (), digest)
        found = _checked(file, self.files.json("stream.json"), STREAM)
        tests = tuple(task["test"] for task in found["tasks"])
        named = sorted(json.dumps(task, sort_keys=True) for task in found["tasks"])
        if len(tests) != len(self.tasks):
            raise UserError(f"{file}: damaged, it is not about the tasks in accuracy.csv")
        digest = hashlib.sha256("\n".join([found["protocol"], found["identity"], *named]).encode()).hexdigest()
        return Protocol(found["protocol"], found["identity"], tests, digest)

    @cached_property
    def cost(self) -> dict[str, Any]:
        """`cost.json`."""
        file = self.files.at("cost.json")
        found = _checked(file, self.files.json("cost.json"), COST)
        if self.is_finished and len(found["trained_parameters"]) != len(self.tasks):
            raise UserError(f"{file}: damaged, it is not about the tasks in accuracy.csv")
        return found

    @cached_property
    def about(self) -> dict[str, Any]:
        """`run.json`."""
        return _checked(self.files.at("run.json"), self.files.json("run.json"), ABOUT)

    @cached_property
    def method(self) -> About:
        """What the run's method is called and how it is drawn: as `run.json` says, else as the strategy's file here does."""
        written = self.about.get("method")
        if written is None:
            return registry.about(str(self.config["strategy"]))
        return _checked(self.files.at("run.json"), written, METHOD)  # type: ignore[return-value]

    @cached_property
    def rank(self) -> "pd.DataFrame":
        """`rank.csv`: one row for each state, tower, block and matrix."""
        return _frames().rank(self.files)

    @cached_property
    def spectrum(self) -> "pd.DataFrame | None":
        """`spectrum.csv`: one row for each matrix before and after the stream; None in older folders."""
        return _frames().spectrum(self.files)

    def table(self, name: str) -> "pd.DataFrame":
        """Any table that a measurement filled, for instance `rank` or `cost`: numbers where a whole column is numbers.

        Raises:
            UserError: the run has no such table, or it is damaged.
        """
        return _frames().measured(self.files, name)

    @cached_property
    def entropy_rank(self) -> tuple[float, float] | None:
        """Mean over the attention's matrices of `effective_rank`, before any training and at the end; None without."""
        return tables.entropy_rank(self.files, len(self.tasks))

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end."""
        return self.about["status"] == "finished"

    @property
    def learns_at_once(self) -> bool:
        """Whether all tasks were learned in one training, the first: then only the end means anything."""
        first, *others = self.cost["trained_parameters"]
        return first > 0 and bool(others) and not any(others)

    @property
    def learns_nothing(self) -> bool:
        """Whether no parameter was ever trained."""
        return not any(self.cost["trained_parameters"])

    def frame(self, identity: str) -> "pd.DataFrame":
        """An accuracy matrix with its names, (T+1, T): index `after` 0..T, columns the tasks."""
        return _frames().accuracy(self.accuracy[identity], self.tasks)

    @cached_property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """By `MATRICES`, what `benchmarks.runs.metrics.summarise` says of the matrix. `metrics.json` is not believed."""
        return {identity: summarise(states) for identity, states in self.accuracy.items()}

    def contradiction(self) -> str | None:
        """In one line, where `metrics.json` differs from what its matrices give; None where it does not, or is missing."""
        if not self.files.has("metrics.json"):
            return None
        written = self.files.json("metrics.json")
        right: dict[str, Any] = {**self.metrics["known"], "agnostic": self.metrics["unknown"]}
        if "seen" in self.accuracy and isinstance(written, dict) and "seen" in written:
            right["seen"] = class_incremental(self.accuracy["seen"][1:], np.array(self.protocol.tests))
        where = _differs(written, right)
        return f"{self.files.at('metrics.json')}: {where} by the accuracy matrices, which count" if where else None


def _differs(there: Any, right: Any, name: str = "") -> str | None:
    """`agnostic.avg is 99.00 there, 41.20`: the first place where `there` has not what `right` has; None if it has all."""
    if isinstance(right, dict) and isinstance(there, dict):
        pairs = [(there.get(key), value, f"{name}.{key}".strip(".")) for key, value in right.items()]
    elif isinstance(right, list) and isinstance(there, list) and len(right) == len(there):
        pairs = [(*both, f"{name}[{place}]") for place, both in enumerate(zip(there, right, strict=True))]
    else:
        numbers = all(isinstance(each, int | float) for each in (there, right))
        same = abs(there - right) <= ROUNDING if numbers else there is None and right is None
        return None if same else f"{name or 'all'} is {_short(there)} there, {_short(right)}"
    return next((found for pair in pairs if (found := _differs(*pair))), None)


def _short(value: Any) -> str:
    return "none" if value is None else f"{value:.2f}" if isinstance(value, int | float) else "no number"


def _checked(file: Path, found: Any, shape: TypeAdapter) -> dict[str, Any]:
    try:
        return shape.validate_python(found)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        raise UserError(f"{file}: damaged, {place}: {first['msg']}") from error


def read(folder: Path) -> Run:
    """The run in a folder, or in a folder's zip file.

    Raises:
        UserError: there is no run, one of its matrices is broken, or a newer version wrote it that this one cannot read.
    """
    files = RunFiles.of(folder)
    if not files.is_packed and not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name a run folder, results/STREAM/STRATEGY/RUN")
    needed = [MATRICES[identity][0] for identity in ("known", "unknown")]
    if missing := [name for name in needed if not files.has(name)]:
        raise UserError(f"{folder} is not a run folder: it has no {', '.join(missing)}")
    schema.version(files)
    there = {identity: name for identity, (name, _) in MATRICES.items() if files.has(name)}
    found = {identity: tables.accuracies(files, name) for identity, name in there.items()}
    tasks = found["known"][0]
    for identity, (names, _) in found.items():
        if names != tasks:
            raise UserError(f"{files.at(there[identity])}: other tasks than in accuracy.csv")
    return Run(files.folder, tuple(tasks), {identity: states for identity, (_, states) in found.items()})


def _frames() -> Any:
    """pandas comes when a table is first asked for."""
    from benchmarks.runs import frames

    return frames
