"""Do the methods leave a weight's principal directions alone in bf16 too?

The runs, the table and the figure of `orthogonality`, with `--precision float32` and `--precision bf16` on one machine. It
needs a GPU, or a processor that computes in bfloat16. Weights, decompositions and merging are float32 in both; what bf16 may
change is what a method computes of its update in the towers.
"""

from dataclasses import replace

from matplotlib.figure import Figure

from benchmarks.comparison.collection import Runs
from benchmarks.studies import orthogonality
from benchmarks.studies.base import Grid


def _both(grid: Grid) -> Grid:
    return [{**block, "precision": ("float32", "bf16")} for block in grid]


def figure(runs: Runs) -> Figure:
    """Returns the figure of `orthogonality`, with a colour for each precision.

    Args:
        runs: the finished runs.
    """
    return orthogonality.figure(runs)


STUDY = replace(
    orthogonality.STUDY, grids={"micro": _both(orthogonality.GRID)}, quick=_both(orthogonality.QUICK), figure=figure
)
