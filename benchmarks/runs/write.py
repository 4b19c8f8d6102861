"""Writes the run folder: its path, the lock against other processes, and the files that identify the run."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from benchmarks.config.bounded import from_yaml
from benchmarks.config.errors import Busy, UserError
from benchmarks.config.settings import FREE, RunConfig
from benchmarks.runs import schema
from benchmarks.runs.folder import RunFiles
from benchmarks.runtime import files, locks


PARQUET = "nusa-bench[predictions]"  # the extra that reads and writes predictions
CHECKPOINT, MODEL, METHOD = "checkpoint.safetensors", "model.safetensors", "method.safetensors"


def run_path(results: Path, config: RunConfig) -> Path:
    """Returns the path of a run folder, RESULTS/STREAM/STRATEGY/LABEL, without making it.

    LABEL is the seed, and the settings that differ from their default for the stream and the strategy:
    `seed42,rank=16`.

    Args:
        results: the folder of all results.
        config: the run's settings.
    """
    family, _, argument = config.common.stream.partition(":")
    if family == "folder":
        argument = Path(argument).resolve().name
    stream = "-".join([family, *(part for part in re.split(r"[^\w.]+", argument) if part)])
    strategy = config.common.strategy.replace(":", "-")
    return results / _fitting(stream) / _fitting(strategy) / _fitting(config.label)


def _fitting(name: str) -> str:
    """Returns a name that file systems take, which allow at most 255 bytes: a long one is cut, and its digest added."""
    if len(name) <= 120 and len(name.encode()) <= 240:
        return name
    return f"{name.encode()[:100].decode(errors='ignore')}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def is_finished(path: Path) -> bool:
    """Returns whether there is a finished run, by its `run.json`, in a folder or packed under its name.

    Args:
        path: the run folder, which need not exist.

    Raises:
        UserError: `run.json` is damaged.
    """
    return RunFiles(path).has("run.json") and run_json(path).get("status") == "finished"


def run_json(path: Path) -> dict[str, Any]:
    """Returns the content of `run.json` in a run folder, such as status, start, versions and machine.

    Args:
        path: the run folder; `benchmarks.runs.keys` describes the keys.

    Raises:
        UserError: the file is missing or damaged.
    """
    found = RunFiles(path).json("run.json")
    if not isinstance(found, dict):
        raise UserError(f"{path / 'run.json'}: damaged; move the folder away to start anew")
    return found


def next_path(path: Path) -> Path:
    """Returns the folder for a further run with the same settings, next to that of the first.

    It is the first of `path-2`, `path-3`, ... that holds no finished run; it may hold an unfinished one.

    Args:
        path: the run folder of the first run.
    """
    number = 2
    while is_finished(path.with_name(f"{path.name}-{number}")):
        number += 1
    return path.with_name(f"{path.name}-{number}")


@contextmanager
def locked(path: Path, soon: float = locks.SOON) -> Iterator[None]:
    """Makes a run folder if there is none; context in which no other process writes there.

    Args:
        path: the run folder.
        soon: seconds for which another process is waited for.

    Raises:
        Busy: another process writes there, or another run has just finished there.
        UserError: the folder cannot be made.
    """

    def refuse(who: str, since: str) -> None:
        raise Busy(
            f"{path}: another run is writing here ({who}, since {since}); wait for it, or change --seed or --results"
        )

    with ExitStack() as until_done:
        try:
            path.mkdir(parents=True, exist_ok=True)
            until_done.enter_context(locks.locked(path, refuse, soon))
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}; choose another --results") from error
        if is_finished(path):
            raise Busy(f"{path}: another run has just finished here; the same command shows it")
        yield


def save_config(path: Path, settings: Mapping[str, Any]) -> None:
    """Writes the settings into `config.yaml`; if the file exists, since a run is resumed, checks that they are the
    same.

    Args:
        path: the run folder.
        settings: all settings of the run by name.

    Raises:
        UserError: the folder holds a run with other settings, or a file is damaged or cannot be written.
    """
    if (path / "config.yaml").exists():
        check_config(path, settings)
    else:
        text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
        files.write_text(path / "config.yaml", text)


def check_config(path: Path, wanted: Mapping[str, Any]) -> None:
    """Checks that a run folder's `config.yaml` has certain settings. The folder's name does not tell, because it omits
    settings with their default values for the stream, which may have changed since.

    Args:
        path: the run folder.
        wanted: all settings by name; `checkpointing`, and a device `auto`, may differ.

    Raises:
        UserError: the folder holds a run with other settings (the message names the first that differs), or
            `config.yaml` is missing or damaged.
    """
    file = RunFiles(path).at("config.yaml")
    try:
        found = from_yaml(RunFiles(path).text("config.yaml"))
    except (UserError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{file}: missing or damaged; move the folder away to start anew")
    found = schema.complete({"strategy": wanted["strategy"], **found})
    for name in [*wanted, *found]:
        if name == FREE or wanted.get(name) == "auto":  # with `auto` any device is accepted
            continue
        if found.get(name) != wanted.get(name):
            raise UserError(
                f"{file}: the run there has {name} {found.get(name)}, not {wanted.get(name)}; choose another --results"
            )


def save_stream(path: Path, about: dict[str, Any]) -> None:
    """Writes `stream.json`; if it exists, since a run is resumed, checks that the content is the same.

    Args:
        path: the run folder.
        about: the content: `protocol`, `identity` (what the model is told at test time) and `tasks`, a list of dicts
            with each task's name, data set, counts, prompts and class names; `Stream.describe` returns it.

    Raises:
        UserError: the run there had other tasks, prompts or splits, or the file cannot be written.
    """
    file = path / "stream.json"
    if not file.exists():
        files.write_json(file, about)
    elif files.read_json(file) != about:
        raise UserError(f"{file}: the run there has other tasks, prompts or splits; choose another --results")
