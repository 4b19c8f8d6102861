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
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from benchmarks import files
from benchmarks.errors import UserError
from benchmarks.metrics import summarise


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
HEADLINE = ("transfer", "avg", "last", "forgetting")
ROUNDING = 1e-6  # points; the matrix and its metrics are written with full precision


@dataclass(frozen=True)
class Protocol:
    """How a stream was tested.

    Attributes:
        name: the protocol, in words.
        identity: of `MATRICES`, the one that the protocol reports.
        tests: (T,) test images of each task, in the run's order.
        digest: of all that `stream.json` says, the tasks in any order: equal for equal splits, names, templates and protocol.
    """

    name: str
    identity: str
    tests: tuple[int, ...]
    digest: str


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
        return _mapping(file, found, ("strategy", "stream", "seed", "order", "model"))

    @cached_property
    def protocol(self) -> Protocol:
        """What matters of `stream.json` when runs are set beside each other."""
        file = self.folder / "stream.json"
        found = self._json(file.name, ("protocol", "identity", "tasks"))
        try:
            tests = tuple(int(task["test"]) for task in found["tasks"])
            named = sorted(json.dumps(task, sort_keys=True) for task in found["tasks"])
        except (TypeError, KeyError, ValueError) as error:
            raise UserError(f"{file}: damaged, a task without its number of test images") from error
        if len(tests) != len(self.tasks) or found["identity"] not in MATRICES:
            raise UserError(f"{file}: damaged, it is not about the tasks in accuracy.csv")
        digest = hashlib.sha256("\n".join([found["protocol"], found["identity"], *named]).encode()).hexdigest()
        return Protocol(str(found["protocol"]), found["identity"], tests, digest)

    @cached_property
    def cost(self) -> dict[str, Any]:
        """`cost.json`."""
        found = self._json("cost.json", ("trained_parameters", "carried_bytes", "total_seconds", "peak_memory_bytes"))
        if self.is_finished and len(found["trained_parameters"]) != len(self.tasks):
            raise UserError(
                f"{self.folder / 'cost.json'}: damaged, it is not about the {len(self.tasks)} tasks in accuracy.csv"
            )
        return found

    @cached_property
    def about(self) -> dict[str, Any]:
        """`run.json`."""
        return self._json("run.json", ("status",))

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

    @cached_property
    def entropy_rank(self) -> tuple[float, float] | None:
        """Mean over the attention's matrices of `effective_rank`, before any training and at the end; None without."""
        file = self.folder / "rank.csv"
        try:
            header, *lines = file.read_text(encoding="utf-8").splitlines()
            columns = [header.split(",").index(name) for name in ("after", "matrix", "effective_rank")]
            # Only the lines that count are taken apart: there are a thousand of them in a run with ViT-B/16.
            ends = {"0": [], str(len(self.tasks)): []}  # type: dict[str, list[float]]
            for line in lines:
                if (after := line.partition(",")[0]) in ends:
                    _, matrix, rank = (line.split(",")[column] for column in columns)
                    if matrix in ATTENTION:
                        ends[after].append(float(rank))
        except (OSError, ValueError, IndexError) as error:
            raise UserError(f"{file}: missing or damaged") from error
        first, last = ends.values()
        return (float(np.mean(first)), float(np.mean(last))) if first and last else None

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
        """By `MATRICES`, what `benchmarks.metrics.summarise` says of the matrix. `metrics.json` is not believed."""
        return {identity: summarise(states) for identity, states in self.accuracy.items()}

    def contradiction(self) -> str | None:
        """In one line, where `metrics.json` differs from what its matrices give; None where it does not, or is missing."""
        file = self.folder / "metrics.json"
        if not file.exists():
            return None
        written = _mapping(file, files.read_json(file), HEADLINE)
        for where, identity in ((written, "known"), (written.get("agnostic", {}), "unknown")):
            for name in HEADLINE:
                there, right = where.get(name), self.metrics[identity][name]
                if (there is None) != (right is None) or (right is not None and abs(there - right) > ROUNDING):
                    matrix = MATRICES[identity][0]
                    return f"{file}: {name} is {_short(there)} there, {_short(right)} by {matrix}, which counts"
        return None

    def _json(self, name: str, needed: tuple[str, ...]) -> dict[str, Any]:
        return _mapping(self.folder / name, files.read_json(self.folder / name), needed)


def _short(figure: float | None) -> str:
    return "none" if figure is None else f"{figure:.2f}"


def _mapping(file: Path, found: Any, needed: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise UserError(f"{file}: damaged, expected names with values")
    if lacking := [name for name in needed if name not in found]:
        raise UserError(f"{file}: damaged, it has no {', '.join(lacking)}")
    return found


def find(places: Iterable[Path]) -> list[Path]:
    """The run folders at or below the given folders, each once, sorted.

    Raises:
        UserError: a folder is missing, or there is no run folder in it.
    """
    found: dict[Path, None] = {}
    for place in places:
        if not place.is_dir():
            raise UserError(f"{place}: no such folder; name run folders, or folders that hold some (results/)")
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


def _numbers(rows: list[list[str]], path: Path, columns: int) -> np.ndarray:
    """(rows, columns); an empty field is NaN."""
    try:
        return np.array([[float(field or "nan") for field in row] for row in rows]).reshape(-1, columns)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
