"""What models still know outside the stream: the probes of a group's runs, as columns of tables and lines of figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.comparison.groups import Group
from benchmarks.comparison.statistics import Measure
from benchmarks.runs.read import Run


HEADINGS = {
    "top1": "top 1",
    "image_to_text_r1": "image to text R@1",
    "image_to_text_r5": "image to text R@5",
    "text_to_image_r1": "text to image R@1",
    "text_to_image_r5": "text to image R@5",
}


@dataclass(frozen=True)
class Name:
    """A metric of a probe; probes of the same name with other images or texts are others.

    Attributes:
        probe: the probe's name.
        metric: the metric's name in `probes.csv`.
        sha256: digest of the probe's images and texts.
    """

    probe: str
    metric: str
    sha256: str

    @property
    def key(self) -> str:
        """The name in a csv: `imagenet top1 [1a2b3c4d]`, with the first eight digits of the digest."""
        return f"{self.probe} {self.metric} [{self.sha256[:8]}]"


def names(group: Group) -> list[Name]:
    """Returns the metrics of probes that any run of a group has, each once.

    Args:
        group: the runs.
    """
    return list(dict.fromkeys(name for run in group.runs for name in of_run(run)))


def of_run(run: Run) -> dict[Name, np.ndarray]:
    """Returns the values (T+1,) in percent of a run's probes after 0 to T tasks; empty without probes.

    Args:
        run: the run.
    """
    about = run.about.get("probes", {})
    return {
        Name(probe, metric, about.get(probe, {}).get("sha256", "")): values
        for (probe, metric), values in run.probes.items()
    }


def headings(found: Sequence[Name]) -> list[str]:
    """Returns how tables and figures call metrics of probes, such as `imagenet top 1`; of probes of one name that are not the
    same, with the first eight digits of their digest.

    Args:
        found: the metrics.
    """
    several = {
        name.probe for name in found for other in found if name.probe == other.probe and name.sha256 != other.sha256
    }
    return [
        f"{name.probe}{f' ({name.sha256[:8]})' if name.probe in several else ''} {HEADINGS.get(name.metric, name.metric)}"
        for name in found
    ]


def protocols(group: Group) -> list[str]:
    """Returns a sentence about each probe of a group: what is tested and after whom.

    Args:
        group: the runs.
    """
    found = {probe["protocol"] for run in group.runs for probe in run.about.get("probes", {}).values()}
    return [f"{each}." for each in sorted(found)]


def after_last(name: Name) -> Measure:
    """Returns the function that maps a run to a probe's value in percent after the last task; None where it was not tested.

    Args:
        name: the metric of the probe.
    """
    return lambda run: _value(of_run(run).get(name), -1)


def before_first(group: Group, name: Name) -> float | None:
    """Returns a probe's value in percent before any training, which is the same for all methods that start from the
    pretrained model; None where none of these was tested.

    Args:
        group: the runs.
        name: the metric of the probe.
    """
    found = [_value(of_run(run).get(name), 0) for run in group.runs if not run.is_second_stage]
    return next((value for value in found if value is not None), None)


def _value(values: np.ndarray | None, state: int) -> float | None:
    return None if values is None or np.isnan(values[state]) else float(values[state])
