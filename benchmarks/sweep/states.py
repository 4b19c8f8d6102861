"""Where the runs of a sweep stand, from their folders alone."""

import contextlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmarks.config.errors import UserError
from benchmarks.runs.folder import RunFiles
from benchmarks.runtime import files
from benchmarks.runtime.locks import HOLDER, is_held


FAILURE = "failure.json"
State = Literal["finished", "running", "interrupted", "failed", "to do"]
STATES: tuple[State, ...] = ("finished", "running", "interrupted", "failed", "to do")


@dataclass(frozen=True)
class Standing:
    """Where one run stands.

    Attributes:
        state: `finished`; `running`: a process holds the folder (whether it still lives is seen on this machine only);
            `interrupted`: begun and not at its end; `failed`: with an error that another start would meet again; or
            `to do`.
        seconds: of the learned tasks, for each all that it took; empty before the first.
        memory: the most memory of its process so far, in bytes; 0 if that is not known.
        why: the error of a failed run, in one line.
        log: the path of the log of a failed run's worker; empty without one.
    """

    state: State
    seconds: tuple[float, ...] = ()
    memory: int = 0
    why: str = ""
    log: str = ""


def standing(folder: Path) -> Standing:
    """Returns where a run stands, by its folder or what it was packed in.

    Args:
        folder: the run folder, which need not exist.

    Raises:
        UserError: a file there is damaged.
    """
    status = _status(folder)
    cost = cost_of(folder) if status else Cost()
    if status == "finished":
        return Standing("finished", *cost)
    if is_held(folder):
        return Standing("running", *cost)
    if failure := _read(folder / FAILURE):
        return Standing("failed", *cost, str(failure.get("error", "")), str(failure.get("log", "")))
    return Standing("interrupted" if status else "to do", *cost)


def note_failure(folder: Path, error: str, log: str) -> None:
    """Writes into a run folder that its run failed, so that a sweep leaves it out until it is told to try again.

    Args:
        folder: the run folder, which is made if there is none.
        error: what went wrong, in one line.
        log: the path of the worker's log.

    Raises:
        UserError: the file cannot be written.
    """
    files.write_json(folder / FAILURE, {"error": error, "log": log})
    (folder / HOLDER).unlink(missing_ok=True)  # of a worker that was lost


def forget_failure(folder: Path) -> None:
    """Takes back what `note_failure` wrote.

    Args:
        folder: the run folder.
    """
    with contextlib.suppress(OSError):  # whoever writes there next says what is wrong
        (folder / FAILURE).unlink()


def _status(folder: Path) -> str:
    """Returns the status in `run.json`; empty where there is none yet."""
    found = RunFiles(folder)
    if not found.has("run.json"):
        return ""
    try:
        about = json.loads(found.text("run.json"))  # as it is: of thousands of folders only the status is looked at
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict):
        raise UserError(f"{found.at('run.json')}: damaged; move the folder away to start anew")
    return str(about.get("status", ""))


class Cost(NamedTuple):
    """What a run has needed so far.

    Attributes:
        seconds: of each learned task, training, evaluation, measurements and decompositions together.
        memory: the most memory of its process, in bytes; 0 if that is not known.
    """

    seconds: tuple[float, ...] = ()
    memory: int = 0


def cost_of(folder: Path) -> Cost:
    """Returns what a run has needed so far, by its `cost.json`; nothing where there is none.

    Args:
        folder: the run folder.
    """
    found = _read(folder / "cost.json") or _packed(folder)
    try:
        seconds = found["seconds"]
        others = [seconds[name][1:] for name in ("evaluation", "spectrum")]  # each has one from before any training
        tasks = zip(seconds["training"], seconds["decomposition"], *others, strict=False)
        cost = Cost(tuple(sum(parts) for parts in tasks), int(found.get("peak_memory_bytes", 0)))
        return cost if all(map(math.isfinite, cost.seconds)) else Cost()
    except (KeyError, TypeError, ValueError, OverflowError):
        return Cost()


def _packed(folder: Path) -> dict[str, Any]:
    """The costs of a packed run; empty where there is none."""
    files = RunFiles(folder)
    found = files.json("cost.json") if files.is_packed and files.has("cost.json") else {}
    return found if isinstance(found, dict) else {}


def _read(file: Path) -> dict[str, Any]:
    """The content of a json file of ours; empty where it is missing or half written by an older version."""
    files.check_plain(file)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
