"""Any other stream repeated N times, written repeat:N:STREAM, or repeat:N for MTIL.

`repeat:2:mtil-split:3` learns `mtil-split:3` twice. The tasks of the second round are called `Aircraft (2)`, and so on.
Each has the same images as in the first round, so a test set is evaluated once for all rounds.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.config.errors import UserError
from benchmarks.config.recipes import repeated
from benchmarks.config.settings import Splits
from benchmarks.streams.base import DATA_ROOT, Plan, Task
from benchmarks.streams.named import build_plan


MOST = 50


def _name(task: str, turn: int) -> str:
    return task if turn == 1 else f"{task} ({turn})"


def _open(inner: Plan, origin: Mapping[str, str], chosen: tuple[str, ...]) -> tuple[Task, ...]:
    """Opens each task of the repeated stream once; its repetitions share the images."""
    wanted = tuple(dict.fromkeys(origin[name] for name in chosen))
    tasks = dict(zip(wanted, inner.open(wanted), strict=True))
    return tuple(replace(tasks[origin[name]], name=name) for name in chosen)


def build(argument: str, data_root: Path = Path(DATA_ROOT), splits: Splits = "zscl") -> Plan:
    """Returns another stream repeated N times: in each of its orders, all tasks are learned N times over.

    The repetitions of a task have its images and the names `NAME (2)`, `NAME (3)`, ... Nothing is read from disk yet.

    Args:
        argument: the text after the colon of the stream's name: "N:STREAM", or "N" for MTIL; N from 2 to 50.
        data_root: the folder of the published data sets.
        splits: whose splits, class names and templates the data sets have: `zscl` or `coop`.

    Raises:
        UserError: N is no such number, the stream is unknown or itself a repeat, or a task already has a name like
            `NAME (2)`. The plan's `open` raises it if data are missing.
    """
    times, stream = repeated(argument)
    if times not in map(str, range(2, MOST + 1)):
        raise UserError(f'--stream repeat: expected repeat:N or repeat:N:STREAM with N from 2 to {MOST}, got "{times}"')
    if stream.partition(":")[0] == "repeat":
        raise UserError(f"--stream repeat:{argument}: a repeat cannot be repeated; write one with a larger N")
    inner = build_plan(stream, data_root, splits)
    turns = range(1, int(times) + 1)
    origin = {_name(task, turn): task for turn in turns for task in inner.names}
    if len(origin) < len(inner.names) * len(turns):
        raise UserError(
            f"--stream repeat:{argument}: a task there is called as a repeated one would be, NAME (2); rename it"
        )
    orders = {
        order: tuple(_name(task, turn) for turn in turns for task in tasks) for order, tasks in inner.orders.items()
    }
    return Plan(
        names=tuple(origin),
        orders=orders,
        protocol=f"{inner.protocol}; {times} times over",
        open=partial(_open, inner, origin),
        identity=inner.identity,
        datasets=inner.datasets,
    )
