"""What the model still knows outside the stream: the values of the probes that `--probe` names, in every state."""

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.experiment.checkpoint import digest, together
from benchmarks.experiment.measurements.base import Measurement, RunState
from benchmarks.experiment.probes.base import Prepared
from benchmarks.runs.columns import Column


class Meter(Measurement):
    """Tests the model on each probe after every evaluation: one row of `probes.csv` for each of its metrics.

    Args:
        probes: the probes; none gives no rows.
    """

    table = "probes"
    keys = ("after", "probe", "metric")
    columns = (
        Column("after", "integer", "state: the number of tasks learned, 0 to T", since="1.1"),
        Column("probe", "text", "the probe's name, such as `imagenet`; `run.json` has its protocol", since="1.1"),
        Column(
            "metric",
            "text",
            "`top1`, or of retrieval `image_to_text_r1`, `image_to_text_r5`, `text_to_image_r1`, `text_to_image_r5`",
            since="1.1",
        ),
        Column("value", "number", "its value", "percent", since="1.1"),
    )
    by_default = False
    option = "--probe"

    def __init__(self, probes: Sequence[Prepared] = ()) -> None:
        self.probes = probes
        self._of, self._found = "", [dict[str, float]()]

    @property
    def about(self) -> dict[str, dict[str, str]]:
        """What `run.json` says of the probes: by name the `protocol` and the `sha256` of images and texts."""
        return {each.probe.name: {"protocol": each.probe.protocol, "sha256": each.sha256} for each in self.probes}

    def measure(self, run: RunState) -> Iterator[dict[str, Any]]:
        """Yields one row for each probe and metric: `after`, `probe`, `metric` and `value` in percent.

        Args:
            run: the state of the run.
        """
        # A model that no task changes is tested once.
        now = "" if run.strategy.trains else digest(together(run.model.clip.state_dict(), run.strategy.state_dict()))
        if not now or now != self._of:
            run.model.eval()
            self._of, self._found = now, [each.values(run.model) for each in self.probes]
        for each, found in zip(self.probes, self._found, strict=True):
            for metric, value in found.items():
                yield {"after": run.learned, "probe": each.probe.name, "metric": metric, "value": value}
