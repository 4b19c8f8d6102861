"""The run folder: where it is, whose turn it is to write in it, and each file in it."""

import csv
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml
from filelock import FileLock, Timeout

from benchmarks.config.errors import UserError
from benchmarks.config.settings import ARITHMETIC, FREE, RunConfig, label, stream_family
from benchmarks.measurements.cost import Ledger
from benchmarks.runs.metrics import class_incremental, summarise
from benchmarks.runtime import files


if TYPE_CHECKING:
    from benchmarks.experiment.evaluation import Accuracies


CHECKPOINT, MODEL = "checkpoint.safetensors", "model.safetensors"


@dataclass
class Progress:
    """All that a run has found out so far, state by state (0: before any training).

    As text, made once, since all of it is written after every state: what grows is writing it, and the metrics.

    Attributes:
        known, unknown, seen: a line for each state: accuracy in percent, a field for each task, empty where unmeasured.
        rank: `rank.csv`.
        spectrum: `spectrum.csv`: before any training and after the last task.
        cost: the ledger.
    """

    known: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    rank: str = ""
    spectrum: str = ""
    cost: Ledger = field(default_factory=Ledger)

    @property
    def states(self) -> int:
        """Number of states measured; tasks learned is one less."""
        return len(self.known)

    def add_accuracies(self, found: "Accuracies") -> None:
        """A state's, with which it is measured."""
        self.known.append(_fields(found.known))
        self.unknown.append(_fields(found.unknown))
        self.seen.append(_fields(found.seen))

    def add_rank(self, rows: list[dict[str, Any]]) -> None:
        """A state's rows, one for each matrix."""
        self.rank += pd.DataFrame(rows).to_csv(index=False, header=not self.rank)

    def add_spectrum(self, rows: list[dict[str, Any]]) -> None:
        """A state's rows, one for each matrix, with its singular `values`."""
        self.spectrum += spectrum_table(rows).to_csv(index=False, header=not self.spectrum, float_format="%.6g")


def _fields(row: Sequence[float | None]) -> str:
    return ",".join("" if figure is None else repr(figure) for figure in row)


def run_path(results: Path, config: RunConfig) -> Path:
    """`results/<stream>/<strategy>/<seed and what differs from the recipe>`."""
    family, argument = stream_family(config.common.stream)
    if family == "folder":
        argument = Path(argument).resolve().name
    stream = "-".join([family, *(part for part in re.split(r"[^\w.]+", argument) if part)])
    name = label(config)
    if len(name) > 120:  # file systems end at 255 bytes
        name = f"{name[:100]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return results / stream / config.common.strategy.replace(":", "-") / name


def is_finished(path: Path) -> bool:
    """Whether a run in this folder came to its end."""
    return (path / "run.json").is_file() and run_json(path).get("status") == "finished"


def run_json(path: Path) -> dict[str, Any]:
    """Raises UserError if it is damaged."""
    found = files.read_json(path / "run.json")
    if not isinstance(found, dict):
        raise UserError(f"{path / 'run.json'}: damaged; move the folder away to start anew")
    return found


def next_path(path: Path) -> Path:
    """Where to run once more beside finished runs: the first of `path-2`, `path-3`, ... that is not finished."""
    number = 2
    while is_finished(path.with_name(f"{path.name}-{number}")):
        number += 1
    return path.with_name(f"{path.name}-{number}")


def lock(path: Path) -> FileLock:
    """Makes the folder and takes it for this process; the operating system frees it when the process ends, however it ends.

    Raises:
        UserError: another process writes there, or the folder cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        taken = FileLock(path / ".lock", blocking=False)
        taken.acquire()
    except Timeout as error:
        raise UserError(f"{path}: another run is writing here; wait for it, or change --seed or --results") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; choose another --results") from error
    if is_finished(path):
        raise UserError(f"{path}: another run has just finished here; the same command shows it")
    return taken


def save_config(path: Path, config: RunConfig) -> None:
    """Writes `config.yaml`, or checks it against the run that is to go on."""
    if (path / "config.yaml").exists():
        check_config(path, config)
    else:
        text = yaml.safe_dump(config.flat(), sort_keys=False, allow_unicode=True)
        files.write_text(path / "config.yaml", text)


def check_config(path: Path, config: RunConfig) -> None:
    """The folder's name tells what differs from the recipe, so equal names may mean other runs when a recipe has changed.

    Raises:
        UserError: the folder holds a run with other settings, naming the first that differs, or a damaged file.
    """
    wanted, file = config.flat(), path / "config.yaml"
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{file}: missing or damaged; move the folder away to start anew")
    found = {**ARITHMETIC, **found}
    for name in [*wanted, *found]:
        if name == FREE or wanted.get(name) == "auto":  # an auto device is whatever it was
            continue
        if found.get(name) != wanted.get(name):
            raise UserError(
                f"{file}: the run there has {name} {found.get(name)}, not {wanted.get(name)}; choose another --results"
            )


def save_stream(path: Path, about: dict[str, Any]) -> None:
    """Writes `stream.json`, what `Stream.describe` gives, or checks it against the run that is to go on.

    Raises:
        UserError: the run there had other tasks, prompts or splits.
    """
    file = path / "stream.json"
    if not file.exists():
        files.write_json(file, about)
    elif files.read_json(file) != about:
        raise UserError(f"{file}: the run there has other tasks, prompts or splits; choose another --results")


def accuracy_csv(lines: list[str], tasks: list[str]) -> str:
    """Percent; a row for each state, first column `after`, then the tasks in order."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(["after", *tasks])
    text.writelines(f"{after},{line}\n" for after, line in enumerate(lines))
    return text.getvalue()


def _matrix(lines: list[str], tasks: int) -> np.ndarray:
    """(T+1, T) percent, NaN where nothing was measured."""
    matrix = np.full((tasks + 1, tasks), np.nan)
    matrix[: len(lines)] = [[float(figure or "nan") for figure in line.split(",")] for line in lines]
    return matrix


def metrics(progress: Progress, counts: Sequence[int]) -> dict[str, Any]:
    """`metrics.json`: of the task-known matrix, of the task-unknown one under `agnostic`, and `seen`.

    Args:
        counts: (T,) test images of each task.
    """
    known, unknown, seen = (_matrix(lines, len(counts)) for lines in (progress.known, progress.unknown, progress.seen))
    return {
        **summarise(known),
        "agnostic": summarise(unknown),
        "seen": class_incremental(seen[1:], np.array(counts)),
    }


def save_tables(path: Path, progress: Progress, tasks: list[str], counts: Sequence[int]) -> None:
    """Every figure found so far, in its file; called after each task with the same rows and more."""
    files.write_text(path / "accuracy.csv", accuracy_csv(progress.known, tasks))
    files.write_text(path / "accuracy_agnostic.csv", accuracy_csv(progress.unknown, tasks))
    files.write_text(path / "accuracy_seen.csv", accuracy_csv(progress.seen, tasks))
    files.write_text(path / "rank.csv", progress.rank)
    files.write_text(path / "spectrum.csv", progress.spectrum)
    files.write_json(path / "metrics.json", metrics(progress, counts))
    files.write_json(path / "cost.json", progress.cost.as_json())


def spectrum_table(spectra: list[dict[str, Any]]) -> pd.DataFrame:
    """Each row's singular values in columns 1, 2, ..., empty where a matrix is smaller than the largest."""
    flat = [{**row, **dict(enumerate(row["values"], start=1))} for row in spectra]
    return pd.DataFrame(flat).drop(columns="values", errors="ignore")
