"""What a worker reports to the driver of a sweep: itself, the progress of its run, and how the run ended."""

import hashlib
import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from benchmarks.config.registry import ROOT


LIBRARIES = ("torch", "avalanche-lib", "open_clip_torch")
PACKAGES = ("benchmarks", "strategies", "plotting")


@dataclass(frozen=True)
class Ready:
    """A worker that has started.

    Attributes:
        node: the name of its machine.
        node_id: Ray's name of it.
        code: `code_digest` of the project there.
        wrong: why it cannot do runs, in one line; empty if it can.
    """

    node: str
    node_id: str
    code: str
    wrong: str = ""


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        learned: number of tasks whose results are saved.
        tasks: number of all tasks.
        step: number of training steps done in the present task.
        steps: number of all training steps of the present task.
        quiet: seconds since the worker last said so.
    """

    learned: int
    tasks: int
    step: int = 0
    steps: int = 0
    quiet: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: `finished`; `failed` with an error that another start would meet again; `memory` if memory ran out; `busy`
            if another process writes into the folder; `interrupted` if the driver asked for it, or was out of reach.
        error: the error in one line; empty if there is none.
        log: the path of the worker's log.
        elsewhere: whether a run that failed may succeed on another machine.
    """

    status: Literal["finished", "failed", "memory", "busy", "interrupted"]
    error: str = ""
    log: str = ""
    elsewhere: bool = True


def code_digest() -> str:
    """Returns a SHA-256 digest, in hexadecimal, of what decides a run's values: the project's source files and recipes, and
    the versions of Python, torch, Avalanche and open_clip.
    """
    versions = [".".join(platform.python_version_tuple()[:2]), *map(version, LIBRARIES)]
    digest = hashlib.sha256(" ".join(versions).encode())
    for package in PACKAGES:
        for file in sorted(each for each in (ROOT / package).rglob("*") if each.suffix in (".py", ".yaml")):
            digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
