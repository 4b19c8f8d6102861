"""Finds a stream by its name on the command line."""

import inspect
from collections.abc import Callable
from pathlib import Path

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.config.recipes import stream_family
from benchmarks.config.settings import Splits
from benchmarks.streams.base import Plan


def build_plan(stream: str, data_root: Path, splits: Splits = "zscl") -> Plan:
    """Returns the plan of a stream, which names its tasks and opens them on demand.

    Args:
        stream: its name on the command line: `mtil`, or one with an argument, such as `folder:PATH`.
        data_root: the folder of the published data sets.
        splits: whose splits, class names and templates its data sets have: `zscl`, or `coop` for CoOp's, which only
            streams of MTIL's data sets have: those whose `build` takes `splits`.

    Raises:
        UserError: the name is unknown, the argument after its colon is wrong, or the stream has no such splits.
    """
    family, argument = stream_family(stream)
    build = _build(family)
    if splits == "zscl":
        return build(argument, data_root)
    if not _takes_splits(build):
        having = [name for name in registry.names("stream") if _takes_splits(_build(name))]
        raise UserError(f"--splits {splits}: {stream} has no such splits; these have: {', '.join(having)}")
    return build(argument, data_root, splits)


def _build(family: str) -> Callable[..., Plan]:
    build: Callable[..., Plan] = registry.find("stream", family).load().build
    return build


def _takes_splits(build: Callable[..., Plan]) -> bool:
    return "splits" in inspect.signature(build).parameters
