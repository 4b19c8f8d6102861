"""Finds a stream by its name on the command line."""

from pathlib import Path

from benchmarks.config import registry
from benchmarks.config.recipes import stream_family
from benchmarks.streams.base import Plan


def build_plan(stream: str, data_root: Path) -> Plan:
    """Returns the plan of a stream, which names its tasks and opens them on demand.

    Args:
        stream: its name on the command line: `mtil`, or one with an argument, such as `folder:PATH`.
        data_root: the folder of the published data sets.

    Raises:
        UserError: the name is unknown, or the argument after its colon is wrong.
    """
    family, argument = stream_family(stream)
    plan: Plan = registry.find("stream", family).load().build(argument, data_root)
    return plan
