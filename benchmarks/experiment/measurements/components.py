"""How many components (rank-one terms) of each matrix's update a method kept of those that it trained."""

from collections.abc import Iterator
from typing import Any

from benchmarks.experiment.measurements.base import Measurement, RunState
from benchmarks.experiment.measurements.spectrum import KEY_COLUMNS, KEYS, keys_of
from benchmarks.runs.columns import Column
from strategies.base import StrategyPlugin


class Meter(Measurement):
    """Notes what the method's attribute `components` says after each task: one row of `components.csv` for each matrix.

    Methods without such a count have no table, and their run folders do not mention it.
    """

    table = "components"
    keys = KEYS
    columns = (
        *KEY_COLUMNS,
        Column(
            "components",
            "integer",
            "components (rank-one terms) of the last task's update that the method kept: the update's rank at most",
            since="1.1",
        ),
    )
    turn = 4

    @classmethod
    def fits(cls, strategy: StrategyPlugin) -> bool:
        """Returns whether the method drops components, and so counts those that it keeps.

        Args:
            strategy: the method's plugin.
        """
        return strategy.components is not None

    def measure(self, run: RunState) -> Iterator[dict[str, Any]]:
        """Yields one row for each matrix that the last task updated, none before any training.

        A row has `after` (number of tasks learned), `tower`, `block` and `matrix` (see `keys_of`), and `components`.

        Args:
            run: the state of the run.
        """
        for matrix, kept in (run.strategy.components or {}).items():
            yield {**keys_of(matrix, run.learned), "components": kept}
