"""Run folders, found and read; `results/README.md` describes their files. Needs neither torch nor Avalanche, nor pandas
until the weights are asked for, so that a thousand of them are read in seconds."""

import csv
import hashlib
import io
import json
from collections.abc import Iterable
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
from benchmarks.config.settings import ARITHMETIC
from benchmarks.runs.metrics import class_incremental, summarise
from benchmarks.runtime import files
from strategies.about import About


if TYPE_CHECKING:
    import pandas as pd


# By what the protocol tells a model at test time: the file of the accuracy matrix, and how that reads.
MATRICES = {
    "known": ("accuracy.csv", "task known"),
    "unknown": ("accuracy_agnostic.csv", "task unknown"),
    "seen": ("accuracy_seen.csv", "among the classes seen so far"),
}
TOWERS = ("image", "text")
ATTENTION = ("q", "k", "v", "o")
NAMES = {"tower": TOWERS, "matrix": (*ATTENTION, "fc", "proj")}
NUMBERS = (
    "after",
    "block",
    "dim",
    "rho",
    "energy_rank",
    "energy_share",
    "effective_rank",
    "null_directions",
    "update_norm",
    "interference_left",
    "interference_right",
    "interference",
)
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
        tasks: the T names in the order in which they are learned.
        accuracy: by `MATRICES`, (T+1, T) percent, row 0 before any training; NaN is unmeasured. Without `seen` in folders
            from before 0.2.
    """

    folder: Path
    tasks: tuple[str, ...]
    accuracy: dict[str, np.ndarray]

    @cached_property
    def config(self) -> dict[str, Any]:
        """`config.yaml`."""
        file = self.folder / "config.yaml"
        try:
            # The C loader where there is one: six times as fast.
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            found = yaml.load(file.read_text(encoding="utf-8"), Loader=loader)
        except OSError as error:
            raise UserError(f"{file}: cannot be read: {error.strerror}") from error
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserError(f"{file}: damaged, not valid YAML") from error
        return {**ARITHMETIC, **_checked(file, found, CONFIG)}

    @cached_property
    def protocol(self) -> Protocol:
        """What matters of `stream.json` when runs are set beside each other."""
        file = self.folder / "stream.json"
        if not file.exists() and "seen" not in self.accuracy:
            digest = hashlib.sha256("\n".join(sorted(self.tasks)).encode()).hexdigest()
            return Protocol("not written down (before version 0.2)", "known", (), digest)
        found = _checked(file, files.read_json(file), STREAM)
        tests = tuple(task["test"] for task in found["tasks"])
        named = sorted(json.dumps(task, sort_keys=True) for task in found["tasks"])
        if len(tests) != len(self.tasks):
            raise UserError(f"{file}: damaged, it is not about the tasks in accuracy.csv")
        digest = hashlib.sha256("\n".join([found["protocol"], found["identity"], *named]).encode()).hexdigest()
        return Protocol(found["protocol"], found["identity"], tests, digest)

    @cached_property
    def cost(self) -> dict[str, Any]:
        """`cost.json`."""
        file = self.folder / "cost.json"
        found = _checked(file, files.read_json(file), COST)
        if self.is_finished and len(found["trained_parameters"]) != len(self.tasks):
            raise UserError(f"{file}: damaged, it is not about the tasks in accuracy.csv")
        return found

    @cached_property
    def about(self) -> dict[str, Any]:
        """`run.json`."""
        return _checked(self.folder / "run.json", files.read_json(self.folder / "run.json"), ABOUT)

    @cached_property
    def method(self) -> About:
        """What the run's method is called and how it is drawn: as `run.json` says, else as the strategy's file here does."""
        written = self.about.get("method")
        if written is None:
            return registry.about(str(self.config["strategy"]))
        return _checked(self.folder / "run.json", written, METHOD)  # type: ignore[return-value]

    @cached_property
    def rank(self) -> "pd.DataFrame":
        """`rank.csv`: one row for each state, tower, block and matrix."""
        return _rank(self.folder / "rank.csv")

    @cached_property
    def spectrum(self) -> "pd.DataFrame | None":
        """`spectrum.csv`: one row for each matrix before and after the stream; None in older folders."""
        import pandas as pd

        path = self.folder / "spectrum.csv"
        if not path.is_file():
            return None
        header, rows = _table(path, required=("after", "tower", "block", "matrix"))
        table = pd.DataFrame(rows, columns=header)
        columns = [name for name in header if name not in NAMES]
        numbers = _numbers(table[columns].to_numpy().tolist(), path, len(columns))
        return table[list(NAMES)].join(pd.DataFrame(numbers, columns=columns))

    def table(self, name: str) -> "pd.DataFrame":
        """Any table that a measurement filled, for instance `rank` or `cost`: numbers where a whole column is numbers.

        Raises:
            UserError: the run has no such table, or it is damaged.
        """
        import pandas as pd

        path = self.folder / f"{name}.csv"
        if not path.is_file():
            raise UserError(f"{path}: no such table; a measurement of that name was not taken in this run")
        header, rows = _table(path, required=())
        return pd.DataFrame({column: _typed([row[place] for row in rows]) for place, column in enumerate(header)})

    @cached_property
    def entropy_rank(self) -> tuple[float, float] | None:
        """Mean over the attention's matrices of `effective_rank`, before any training and at the end; None without."""
        file = self.folder / "rank.csv"
        try:
            text = file.read_text(encoding="utf-8")
            header, *lines = text.splitlines()
            names = header.split(",")
            matrix, rank = names.index("matrix"), names.index("effective_rank")
            # Only the lines that count are taken apart: there are a thousand of them in a run with ViT-B/16.
            ends: dict[str, list[float]] = {"0": [], str(len(self.tasks)): []}
            for line in lines:
                if (after := line.partition(",")[0]) in ends:
                    fields = line.split(",")
                    if fields[matrix] in ATTENTION:
                        ends[after].append(float(fields[rank]))
        except (OSError, ValueError, IndexError) as error:
            raise UserError(f"{file}: missing or damaged") from error
        first, last = ends.values()
        if not text.endswith("\n") or len(first) != len(last):
            raise UserError(f"{file}: cut short")
        return (float(np.mean(first)), float(np.mean(last))) if first else None

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
        import pandas as pd

        states = self.accuracy[identity]
        return pd.DataFrame(states, columns=list(self.tasks), index=pd.RangeIndex(len(states), name="after"))

    @cached_property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """By `MATRICES`, what `benchmarks.runs.metrics.summarise` says of the matrix. `metrics.json` is not believed."""
        return {identity: summarise(states) for identity, states in self.accuracy.items()}

    def contradiction(self) -> str | None:
        """In one line, where `metrics.json` differs from what its matrices give; None where it does not, or is missing."""
        file = self.folder / "metrics.json"
        if not file.exists():
            return None
        written = files.read_json(file)
        right: dict[str, Any] = {**self.metrics["known"], "agnostic": self.metrics["unknown"]}
        if "seen" in self.accuracy and isinstance(written, dict) and "seen" in written:
            right["seen"] = class_incremental(self.accuracy["seen"][1:], np.array(self.protocol.tests))
        where = _differs(written, right)
        return f"{file}: {where} by the accuracy matrices, which count" if where else None


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


def find(places: Iterable[Path]) -> list[Path]:
    """The run folders at or below the given folders, each once, sorted.

    Raises:
        UserError: a folder is missing, or there is no run folder in it.
    """
    found: dict[Path, None] = {}
    for place in places:
        if not place.is_dir():
            wrong = "a file, not a folder" if place.exists() else "no such folder"
            raise UserError(f"{place}: {wrong}; name run folders, or folders that hold some (results/)")
        below = sorted(config.parent for config in place.rglob("config.yaml"))
        if not below:
            raise UserError(f"{place}: no run folder there (none holds a config.yaml)")
        found |= dict.fromkeys(below)
    return list(found)


def read(folder: Path) -> Run:
    """The run in a folder.

    Raises:
        UserError: it is no run folder, or one of its matrices is broken.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name a run folder, results/STREAM/STRATEGY/RUN")
    needed = [MATRICES[identity][0] for identity in ("known", "unknown")]
    if missing := [name for name in needed if not (folder / name).is_file()]:
        raise UserError(f"{folder} is not a run folder: it has no {', '.join(missing)}")
    there = {name: folder / file for name, (file, _) in MATRICES.items() if (folder / file).is_file()}
    read = {identity: _states(file) for identity, file in there.items()}
    tasks = read["known"][0]
    for identity, (names, _) in read.items():
        if names != tasks:
            raise UserError(f"{there[identity]}: other tasks than in accuracy.csv")
    return Run(folder, tuple(tasks), {identity: states for identity, (_, states) in read.items()})


def _states(path: Path) -> tuple[list[str], np.ndarray]:
    """The tasks, and the matrix (T+1, T); states that the run has not reached yet become rows of NaN."""
    header, rows = _table(path, required=("after",))
    # By position, for tasks may have any name, "after" too.
    tasks = header[1:]
    if not tasks:
        raise UserError(f"{path}: no task, only the column after")
    numbers = _numbers(rows, path, len(header))
    after, states = numbers[:, 0], np.full((len(tasks) + 1, len(tasks)), np.nan)
    if len(set(after)) < len(after) or not set(after) <= set(range(len(states))):
        raise UserError(f"{path}: the first column must hold each of 0 to {len(tasks)} at most once")
    states[after.astype(int)] = numbers[:, 1:]
    if ((states < 0) | (states > 100)).any():  # NaN is neither
        raise UserError(f"{path}: accuracies lie between 0 and 100")
    return tasks, states


def _rank(path: Path) -> "pd.DataFrame":
    import pandas as pd

    if not path.is_file():
        raise UserError(f"{path.parent} is not a run folder: it has no {path.name}")
    header, rows = _table(path, required=(*NAMES, *NUMBERS))
    table = pd.DataFrame(rows, columns=header)
    for column, allowed in NAMES.items():
        strange = set(table[column]) - set(allowed)
        if strange:
            raise UserError(f"{path}: unknown {column} {min(strange)!r}; known are {', '.join(allowed)}")
    numbers = _numbers(table[list(NUMBERS)].to_numpy().tolist(), path, len(NUMBERS))
    return table.assign(**{name: numbers[:, column] for column, name in enumerate(NUMBERS)})


def _table(path: Path, required: tuple[str, ...]) -> tuple[list[str], list[list[str]]]:
    """Header and rows as text. pandas would read a file cut short without a word and fill it up with NaN."""
    try:
        text = path.read_text(encoding="utf-8")
        lines = list(csv.reader(io.StringIO(text)))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a csv file: {error}") from error
    if not lines:
        raise UserError(f"{path}: empty; expected a header")
    header, *rows = lines
    lacking = [name for name in required if name not in header]
    if lacking:
        raise UserError(f"{path}: no column {', '.join(lacking)}")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise UserError(f"{path}: row {number} has {len(row)} fields, the header {len(header)}; was it cut short?")
    if not text.endswith("\n"):
        raise UserError(f"{path}: cut short: the last line has no end")
    return header, rows


def _typed(fields: list[str]) -> list[Any]:
    """A column's fields as numbers, an empty one as NaN, or all as text where one is no number."""
    try:
        numbers = [float(field or "nan") for field in fields]
    except ValueError:
        return fields
    return [int(number) for number in numbers] if all(field.lstrip("-").isdecimal() for field in fields) else numbers


def _numbers(rows: list[list[str]], path: Path, columns: int) -> np.ndarray:
    """(rows, columns); an empty field is NaN."""
    try:
        return np.array([[float(field or "nan") for field in row] for row in rows]).reshape(-1, columns)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
