"""The Python interface of the harness: `from benchmarks import api as nb`.

    run = nb.run(strategy="nusa", stream="micro", seed=1, rank=16)
    run.metrics["known"]["transfer"]
    nb.load_runs("results").table()

The commands use the same functions. Importing this module is fast, because each name is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from benchmarks.runtime.lean_imports import lean_imports


if TYPE_CHECKING:
    from benchmarks.comparison.collection import Runs as Runs
    from benchmarks.comparison.run_summary import show as show
    from benchmarks.comparison.run_summary import show_tested as show_tested
    from benchmarks.config.errors import UserError as UserError
    from benchmarks.config.registry import Strategy as Strategy
    from benchmarks.experiment.door import complete as complete
    from benchmarks.experiment.door import request as request
    from benchmarks.experiment.door import run as run
    from benchmarks.experiment.door import start as start
    from benchmarks.experiment.measurements.base import Callback as Callback
    from benchmarks.experiment.measurements.base import Measurement as Measurement
    from benchmarks.experiment.measurements.base import RunState as RunState
    from benchmarks.experiment.own import own_strategy as own_strategy
    from benchmarks.experiment.own import own_stream as own_stream
    from benchmarks.experiment.reading import Run as Run
    from benchmarks.experiment.reading import evaluate as evaluate
    from benchmarks.experiment.reading import load_runs as load_runs
    from benchmarks.experiment.reading import strategies as strategies
    from benchmarks.experiment.reading import strategy as strategy
    from benchmarks.experiment.reading import stream as stream
    from benchmarks.experiment.reading import streams as streams
    from benchmarks.experiment.sensitivity import sensitivity as sensitivity
    from benchmarks.images.sets import split_of as split_of
    from benchmarks.runs.columns import Column as Column
    from benchmarks.streams.base import Plan as Plan
    from benchmarks.streams.base import Source as Source
    from benchmarks.streams.base import Task as Task
    from benchmarks.sweep.door import SweepResult as SweepResult
    from benchmarks.sweep.door import sweep as sweep
    from strategies.about import About as About
    from strategies.base import StrategyPlugin as StrategyPlugin

PLACES = {
    "benchmarks.comparison.collection": ("Runs",),
    "benchmarks.comparison.run_summary": ("show", "show_tested"),
    "benchmarks.config.errors": ("UserError",),
    "benchmarks.config.registry": ("Strategy",),
    "benchmarks.experiment.door": ("complete", "request", "run", "start"),
    "benchmarks.experiment.own": ("own_strategy", "own_stream"),
    "benchmarks.experiment.reading": (
        "Run", "evaluate", "load_runs", "strategies", "strategy", "stream", "streams",
    ),
    "benchmarks.experiment.sensitivity": ("sensitivity",),
    "benchmarks.images.sets": ("split_of",),
    "benchmarks.experiment.measurements.base": ("Callback", "Measurement", "RunState"),
    "benchmarks.runs.columns": ("Column",),
    "benchmarks.streams.base": ("Plan", "Source", "Task"),
    "benchmarks.sweep.door": ("SweepResult", "sweep"),
    "strategies.about": ("About",),
    "strategies.base": ("StrategyPlugin",),
}  # fmt: skip
MODULES = {name: module for module, names in PLACES.items() for name in names}
__all__ = sorted(MODULES)


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__} has no attribute {name}; there are {', '.join(__all__)}")
    with lean_imports():
        found = globals()[name] = getattr(importlib.import_module(MODULES[name]), name)
    return found


def __dir__() -> list[str]:
    return __all__
