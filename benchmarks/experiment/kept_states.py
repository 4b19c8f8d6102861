"""The models after each task, kept in the folder `states` of a run folder: of each only the tensors that changed.

`states/3.safetensors` holds the tensors after three tasks that differ from those after two: of the open_clip model, under
`model.NAME`, and of what the method stores between tasks, under `strategy.NAME`. Its metadata has the names of all.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from benchmarks.config.bounded import from_json
from benchmarks.config.errors import UserError
from benchmarks.experiment.checkpoint import digest, pack, read_tensors, together
from benchmarks.experiment.measurements.base import Callback, RunState
from benchmarks.runtime import files


STATES = "states"  # the folder within a run folder
NAMES = "names"  # the entry of a file's metadata


class KeepStates(Callback):
    """Writes the tensors that each task changed, before the checkpoint that contains them: none is missing after a kill."""

    def __init__(self) -> None:
        self._before: dict[str, str] = {}  # the digest of each tensor after the task before

    def on_run_begin(self, run: RunState) -> None:
        """Notes the tensors of the state that the next task changes."""
        self._before = _digests(_tensors(run))

    def on_evaluation_end(self, run: RunState) -> None:
        """Writes the tensors that the last task changed.

        Raises:
            UserError: the file cannot be written, or the folder is a link.
        """
        if not run.learned:
            return
        tensors = _tensors(run)
        now = _digests(tensors)
        changed = {name: tensor for name, tensor in tensors.items() if self._before.get(name) != now[name]}
        self._before = now
        if run.is_first:
            files.write_bytes(place(run.folder, run.learned), pack(changed, {NAMES: json.dumps(sorted(now))}))


def _tensors(run: RunState) -> dict[str, Tensor]:
    return together(run.model.clip.state_dict(), run.strategy.state_dict())


def _digests(tensors: dict[str, Tensor]) -> dict[str, str]:
    return {name: digest({name: tensor}) for name, tensor in tensors.items()}


def place(folder: Path, state: int) -> Path:
    """Returns the path of the file of a state, whether it exists or not.

    Args:
        folder: the run folder.
        state: the number of tasks learned, from 1.

    Raises:
        UserError: the folder of the states is a link, or the file is no plain one.
    """
    if (folder / STATES).is_symlink():
        raise UserError(f"{folder / STATES}: a link, through which no states are written or read; delete it")
    files.check_readable(file := folder / STATES / f"{state}.safetensors")
    return file


def kept(folder: Path) -> int:
    """Returns how many states are kept in a run folder without a gap, counted from the first task; 0 for none.

    Args:
        folder: the run folder.
    """
    state = 0
    while place(folder, state + 1).is_file():
        state += 1
    return state


def read(folder: Path, start: dict[str, Tensor], last: int) -> Iterator[dict[str, Tensor]]:
    """Yields the tensors after one task, after two, and so on, each as a dict as of `checkpoint.together`.

    Args:
        folder: the run folder.
        start: the tensors before any task.
        last: the last of these states; all up to it are kept.

    Raises:
        UserError: a file is damaged.
    """
    tensors = start
    for state in range(1, last + 1):
        file = place(folder, state)
        changed, metadata = read_tensors(file)
        try:
            names = from_json(metadata[NAMES])
            if not isinstance(names, list):
                raise ValueError("no list of names")
            tensors = {name: changed[name] if name in changed else tensors[name] for name in names}
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{file}: damaged, or of another run") from error
        yield tensors
