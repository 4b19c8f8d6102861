"""What models still know outside the stream: the probes of a group's runs, as a table and as measures."""

import numpy as np

from benchmarks.comparison.groups import Group
from benchmarks.comparison.statistics import Measure


HEADINGS = {
    "top1": "top 1",
    "image_to_text_r1": "image to text R@1",
    "image_to_text_r5": "image to text R@5",
    "text_to_image_r1": "text to image R@1",
    "text_to_image_r5": "text to image R@5",
}


def names(group: Group) -> list[tuple[str, str]]:
    """Returns the probes and metrics, `("imagenet", "top1")`, that any run of a group has, each once.

    Args:
        group: the runs.
    """
    return list(dict.fromkeys(name for run in group.runs for name in run.probes))


def heading(probe: str, metric: str) -> str:
    """Returns how tables and figures call a metric of a probe, such as `imagenet top 1`.

    Args:
        probe: the probe's name.
        metric: the metric's name in `probes.csv`.
    """
    return f"{probe} {HEADINGS.get(metric, metric)}"


def after_last(probe: str, metric: str) -> Measure:
    """Returns the function that maps a run to a probe's value in percent after the last task; None where it was not tested.

    Args:
        probe: the probe's name.
        metric: the metric's name in `probes.csv`.
    """
    return lambda run: _value(run.probes.get((probe, metric)), -1)


def before_first(group: Group, probe: str, metric: str) -> float | None:
    """Returns a probe's value in percent before any training, which is the same for all methods that start from the same
    model; None where none of the runs was tested.

    Args:
        group: the runs.
        probe: the probe's name.
        metric: the metric's name in `probes.csv`.
    """
    found = [_value(run.probes.get((probe, metric)), 0) for run in group.runs if "start" not in run.about]
    return next((value for value in found if value is not None), None)


def _value(values: np.ndarray | None, state: int) -> float | None:
    return None if values is None or np.isnan(values[state]) else float(values[state])
