"""The first checkpoint of an extended run: the finished run's results and model, from which it then goes on like any other."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from torch import Tensor

from benchmarks.config.errors import UserError
from benchmarks.experiment import kept_states
from benchmarks.experiment.checkpoint import apart, read_model, save_checkpoint, together
from benchmarks.experiment.extension import Extension
from benchmarks.experiment.loop import TaskLoop
from benchmarks.runs.ledger import Ledger
from benchmarks.runs.read import Run
from benchmarks.runs.record import RunRecord
from benchmarks.runs.write import CHECKPOINT
from benchmarks.runtime import files, process_group


FEW = 2  # test images, or one in a hundred, which another machine may tell otherwise


def begin(extension: Extension, loop: TaskLoop, *, keep: bool) -> None:
    """Writes the checkpoint with which the loop goes on after the finished run's last task, unless there is one already.

    The states before are tested on the new tasks where their models are known: the first, the last, and those that were
    kept. In the rows of the others these accuracies, and all task-agnostic ones, are empty.

    Args:
        extension: the finished run.
        loop: the loop over all tasks, nothing of which has begun.
        keep: whether the finished run's kept states are copied into the new folder.

    Raises:
        UserError: a file of the finished run is damaged or not its own, or its method cannot go on.
    """
    folder, run, old = loop.run.folder, loop.run, extension.run
    if (folder / CHECKPOINT).exists():
        return
    start = {name: tensor.detach().cpu().clone() for name, tensor in run.model.clip.state_dict().items()}
    known, unknown, seen = _rows(old, len(run.tasks))
    loop.bar.begin("testing earlier states", None)
    states = _states(old, together(start, run.strategy.state_dict()), trains=run.strategy.trains)
    for covered, tensors in states:
        if covered[0]:
            _load(loop, start, tensors, extension)
        (found,) = loop.evaluate([covered[0]])
        _check_same(loop, extension, covered[0], found.known)
        for state in covered:
            known[state, extension.learned :] = found.known[extension.learned :]
            unknown[state] = found.unknown
            if loop.predictions:
                loop.predictions.write(folder, state, is_first=run.is_first)
    record = RunRecord(tables=_tables(old, _at_ends(loop)), cost=_cost(old))
    for rows in zip(known, unknown, seen, strict=True):
        record.add_accuracies(*([None if np.isnan(value) else value for value in row.tolist()] for row in rows))
    if run.is_first:
        for state in range(1, kept_states.kept(old.folder) + 1) if keep else ():
            files.write_bytes(kept_states.place(folder, state), kept_states.place(old.folder, state).read_bytes())
        save_checkpoint(folder, *apart(tensors), record, run.settings)
    _reset(loop, start)
    process_group.meet()  # the others read what the first has written


def _rows(old: Run, tasks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the rows of the three accuracy matrices, (T + 1, N) percent each: what the old run of T tasks has measured.

    Task-agnostic accuracies are among the classes of all N tasks now, so none of the old ones holds.
    """
    shape = len(old.tasks) + 1, tasks
    known, unknown, seen = (np.full(shape, np.nan) for _ in range(3))
    known[:, : len(old.tasks)] = old.accuracy["known"]
    seen[:, : len(old.tasks)] = old.accuracy["seen"]
    return known, unknown, seen


def _states(old: Run, start: dict[str, Tensor], *, trains: bool) -> Iterator[tuple[Sequence[int], dict[str, Tensor]]]:
    """Yields the tensors that are known, each with the states that have them: before any task, those that were kept, and the
    last; of a method that trains nothing all at once.
    """
    last = len(old.tasks)
    if not trains:
        yield range(last + 1), start
        return
    yield [0], start
    kept = min(kept_states.kept(old.folder), last - 1)
    for state, tensors in enumerate(kept_states.read(old.folder, start, kept), start=1):
        yield [state], tensors
    yield [last], read_model(old.folder)


def _reset(loop: TaskLoop, start: Mapping[str, Tensor]) -> None:
    """Brings model and method back to what they were before the run: some methods add to what they hold when they load."""
    loop.run.model.clip.load_state_dict(start)
    loop.run.strategy.begin(loop.run.model)


def _check_same(loop: TaskLoop, extension: Extension, state: int, found: Sequence[float]) -> None:
    """Raises UserError if the accuracies (N,) percent in a state are not those that the finished run has recorded of it.

    Its files may be another run's. A few images may differ, since machines round differently.
    """
    recorded = extension.run.accuracy["known"][state]  # (T,), NaN where it was not measured
    images = np.array([len(labels) for _, labels in loop.tests[: len(recorded)]])
    other = np.nansum(np.abs(np.array(found[: len(recorded)]) - recorded) * images / 100)
    if other > max(FEW, images.sum() / 100):
        raise UserError(
            f"--extend {extension.place}: after {state} tasks the model there tells at least {other:.0f} of the "
            f"{images.sum()} test images of its tasks otherwise than accuracy.csv says; its files are another run's"
        )


def _load(loop: TaskLoop, start: Mapping[str, Tensor], tensors: Mapping[str, Tensor], extension: Extension) -> None:
    model, stored = apart(tensors)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all() and name.startswith("model."):
            raise UserError(f"--extend {extension.place}: damaged: {name} has values that are not finite")
    _reset(loop, start)
    try:
        loop.run.model.clip.load_state_dict(model)
        loop.run.strategy.load_state_dict(stored)
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"--extend {extension.place}: what its method stores is not for {len(loop.run.tasks)} tasks; run it anew with all"
        ) from error


def _at_ends(loop: TaskLoop) -> set[str]:
    """Returns the names of the tables that have rows before any task and after the last only."""
    return {each.table for each in loop.callbacks.measurements if each.cadence == "ends"}


def _tables(old: Run, at_ends: set[str]) -> dict[str, str]:
    """Returns the csv texts of the old run's measured tables, by their names."""
    found = {}
    for name in old.about.get("tables", {}):
        if old.files.has(f"{name}.csv"):
            found[name] = _without_last(old, f"{name}.csv") if name in at_ends else old.files.text(f"{name}.csv")
    return found


def _without_last(old: Run, name: str) -> str:
    """Returns a table's text without the rows of the old run's last state, which is not the last one any more."""
    header, *lines = old.files.text(name).splitlines(keepends=True)
    return "".join([header, *(line for line in lines if line.partition(",")[0] != str(len(old.tasks)))])


def _cost(old: Run) -> Ledger:
    try:
        return Ledger.from_json(old.files.json("cost.json"))
    except (KeyError, TypeError) as error:
        raise UserError(f"{old.files.at('cost.json')}: damaged, or of another version") from error
