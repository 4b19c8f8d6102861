"""Weights & Biases: a run of the project `nusa-bench` (or `$WANDB_PROJECT`), online or offline (`WANDB_MODE=offline`)."""

import json
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wandb

from benchmarks.config.errors import UserError
from benchmarks.config.terminal import say
from benchmarks.experiment.loggers.base import Log, own_folder
from benchmarks.experiment.loggers.content import Entry, states
from benchmarks.runs.read import Run, read
from benchmarks.runtime import files


NOTE = "run.json"  # the run's id there, and whether all was sent
WAIT = 60  # seconds, for the service to answer
PROJECT = "nusa-bench"
AXES = {"train": "step", "accuracy": "task", "rank": "task", "metrics": "task"}


class Logger(Log):
    """Sends a run's values to Weights & Biases; a resumed run goes on in the same run there.

    What a killed process had sent may be lost in part, so a run that goes on sends everything again: online W&B drops rows
    whose step it has; offline the unfinished files of before are replaced.

    This uses W&B's own interface: Avalanche's logger (0.6) asks for parts of it that are gone.
    """

    name = "wandb"
    package = "wandb"

    def __init__(self) -> None:
        super().__init__()
        self._run: Any = None
        self._states = 0

    def sent(self, folder: Path) -> int:
        """Returns how many states this process has sent; all of them if an earlier one came to the end."""
        return states(read(folder)) if _note(folder)["ended"] else self._states

    def send(self, run: Run, state: int, entries: Sequence[Entry]) -> None:
        """Sends a state's values; each row has a step of its own, by which the service knows one that it has already."""
        self._begin(run)
        for entry in entries:
            self._log(entry, entry.values)
        self._states = state + 1

    def send_end(self, run: Run, metrics: Entry, plots: Sequence[Path]) -> None:
        """Sends metrics and plots, and waits until the service has everything."""
        if not _note(run.folder)["ended"]:
            self._begin(run)
            self._log(metrics, {**metrics.values, **{f"plots/{plot.stem}": wandb.Image(str(plot)) for plot in plots}})
            self._run.finish()
            _write(run.folder, {**_note(run.folder), "ended": True})

    def _begin(self, run: Run) -> None:
        if self._run:
            return
        mode: Any = os.environ.get("WANDB_MODE", "online")  # named below, since W&B reads it once in a process
        offline = mode != "online"
        if not offline and not wandb.login(prompt=False, verify=False):
            raise UserError("not logged in; call `wandb login` first, or set WANDB_MODE=offline")
        number = _note(run.folder)["id"]
        place = own_folder(run.folder, self.name)
        place.mkdir(exist_ok=True)
        _write(run.folder, {"id": number, "ended": False})
        for unfinished in place.glob(f"offline-run-*-{number}"):
            shutil.rmtree(unfinished)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), name="/".join(run.folder.parts[-3:]), dir=run.folder,
            id=number, resume=None if offline else "allow", config=dict(run.config), save_code=False,
            reinit="finish_previous", mode=mode,
            settings=wandb.Settings(init_timeout=WAIT, silent=True, console="off", x_disable_stats=True, use_dot_wandb=False),
        )  # fmt: skip
        for group, axis in AXES.items():
            self._run.define_metric(f"{group}/*", step_metric=axis)
        if not offline:
            say(f"--log wandb: {self._run.url}")

    def _log(self, entry: Entry, values: dict[str, Any]) -> None:
        self._run.log({entry.axis: entry.at, **values}, step=entry.place)


def _note(folder: Path) -> dict[str, Any]:
    """Returns the run's id there, a new one where there is none yet, and whether all was sent."""
    file = own_folder(folder, Logger.name) / NOTE
    files.check_plain(file)
    if not file.exists():
        return {"id": secrets.token_hex(4), "ended": False}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if re.fullmatch("[0-9a-f]{8}", found["id"]) and isinstance(found["ended"], bool):
            return dict(found)
    except (ValueError, LookupError, TypeError, RecursionError):
        pass
    raise UserError(f"{file}: damaged; delete it to send the run anew")


def _write(folder: Path, note: dict[str, Any]) -> None:
    files.write_json(own_folder(folder, Logger.name) / NOTE, note)
