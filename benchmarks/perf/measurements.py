"""Measures what measurements cost: those of every run, and each of those that `--measure` names."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

from benchmarks.config import registry
from benchmarks.experiment.door import run
from benchmarks.experiment.measurements.base import Measurement
from benchmarks.perf.setting import one_thread


ORDER, STEPS = "default", 150  # as in the recipe of `micro`
# A measurement's methods: those called before the ledger's first clock, and those called while one of its clocks runs.
BEFORE = ("prepare", "on_run_begin")
DURING = ("on_task_begin", "on_step_begin", "on_step_end", "on_task_end", "measure")
Seconds = defaultdict[tuple[str, str], float]  # by a measurement's name and its method's


def measure(place: Path) -> dict[str, Any]:
    """Returns what `python -m benchmarks.perf --part measurements` measures: NuSA-CL on `micro`, on one thread.

    All are taken in one run, so that a slow phase of the machine affects all alike. `run` below are the seconds of that run
    without any measurement: training, evaluating and saving.

    Args:
        place: a folder for the run.

    Returns:
        `default_over_run`: seconds of the measurements that every run takes / run. What `history` notes at every tenth step
            counts as training.
        `named_over_run`: by name, those of each measurement that `--measure` names / run.
        `all_over_run`: the sum of all.
    """
    seconds: Seconds = defaultdict(float)
    meters = [_timed(meter, seconds)() for meter in _named()]
    with one_thread():
        done = run(
            "nusa", "micro", order=ORDER, iterations=STEPS, results=place, callbacks=meters, plots=False, silent=True
        )
    clocks = done.cost["total_seconds"]
    by_default = clocks["spectrum"] - sum(
        seconds[meter.table, "measure"] for meter in meters if meter.cadence != "step"
    )
    alone = sum(clocks.values()) - by_default - sum(value for (_, method), value in seconds.items() if method in DURING)
    named = {meter.table: sum(seconds[meter.table, method] for method in BEFORE + DURING) for meter in meters}
    return {
        "default_over_run": by_default / alone,
        "named_over_run": {name: value / alone for name, value in named.items()},
        "all_over_run": (by_default + sum(named.values())) / alone,
    }


def _named() -> Iterator[type[Measurement]]:
    """The measurements that are taken where `--measure` names them."""
    for source in registry.sources("measurement").values():
        meter = source.load().Meter
        if not meter.by_default and meter.option == "--measure":
            yield meter


def _timed(meter: type[Measurement], seconds: Seconds) -> type[Measurement]:
    """The same measurement, which adds to `seconds` how long its methods take."""

    def clock(method: str) -> Callable[..., Any]:
        own = getattr(meter, method)

        @wraps(own)
        def timed(self: Measurement, given: Any) -> Any:
            began = time.perf_counter()
            found = own(self, given)
            rows = found if found is None else list(found)  # a generator has done nothing yet
            seconds[meter.table, method] += time.perf_counter() - began
            return rows

        return timed

    return type(meter.__name__, (meter,), {method: clock(method) for method in BEFORE + DURING})
