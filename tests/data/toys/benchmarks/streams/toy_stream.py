"""Toy stream: the toy squares, twice."""

from dataclasses import replace
from pathlib import Path

from benchmarks.streams.base import Plan, refuse_argument
from benchmarks.streams.from_datasets import open_datasets, whole_task


NAMES = ("first", "second")


def build(argument: str, data_root: Path) -> Plan:
    refuse_argument("toy-stream", argument)

    def opened(chosen: tuple[str, ...]):
        task = whole_task(open_datasets(("ToySquares",), data_root, "toy-stream")["ToySquares"])
        return tuple(replace(task, name=name) for name in chosen)

    return Plan(names=NAMES, orders={"default": NAMES}, protocol="toy", open=opened, datasets=("ToySquares",))
