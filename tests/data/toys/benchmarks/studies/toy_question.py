"""Does a toy have an answer?"""

from matplotlib.figure import Figure

from benchmarks.comparison.collection import Runs
from benchmarks.comparison.tables import Table
from benchmarks.studies import values
from benchmarks.studies.base import SEEDS, Study


GRID = [{"strategy": "nusa", "seed": SEEDS}]


def tables(runs: Runs) -> list[Table]:
    return [values.by_setting("toy", runs, ("strategy",), values.metrics())]


def figure(runs: Runs) -> Figure:
    return Figure()


STUDY = Study(grids={"micro": GRID}, quick=GRID, tables=tables, figure=figure, alt="nothing", not_shown="Everything.")
