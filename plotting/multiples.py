"""One small panel for each method, with the others in grey behind it: for more methods than one panel can hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.comparison.groups import Group, Method
from benchmarks.runs.csv_files import TOWERS
from plotting import style
from plotting.panels import panels


MOST = 6  # methods that share a panel; with more of them each gets its own
FAINT = "#DDDDDD"


@dataclass(frozen=True)
class Curve:
    """A line of a method.

    Attributes:
        x, y: (n,) its points.
        label: what it shows, the same for the same line of other methods.
        dash: matplotlib's line style.
        marker: matplotlib's marker of each point; empty for none.
    """

    x: Sequence[float] | np.ndarray
    y: np.ndarray
    label: str
    dash: str = "-"
    marker: str = ""


def by_tower(values: Callable[[str], np.ndarray], first: int) -> list[Curve]:
    """Returns a line for each tower: the image tower's whole, the text tower's dashed.

    Args:
        values: returns a tower's values, (n,).
        first: the place of the first value on the x axis.
    """
    found = [(tower, dash, values(tower)) for tower, dash in zip(TOWERS, ("-", "--"), strict=True)]
    return [Curve(range(first, first + len(y)), y, f"{tower} tower", dash) for tower, dash, y in found]


def by_method(
    group: Group, titles: Sequence[str], curves: Callable[[Method], Sequence[Curve]], width: float
) -> tuple[Figure, list[Axes]]:
    """Returns a figure with a panel for each method, and its panels: the method's lines in its colour, those of all others in
    grey behind.

    Args:
        group: the methods.
        titles: the panel's title for each method.
        curves: returns the lines of a method; none for one of which there is nothing to draw.
        width: in inches.
    """
    found = [curves(method) for method in group.methods]
    kinds = {curve.label: curve.dash for each in found for curve in each}
    drawing, axes = panels(titles, list(kinds), width)
    for own, panel, look in zip(found, axes, style.looks(group.methods), strict=True):
        for other in found:
            for curve in other if other is not own else ():
                panel.plot(curve.x, curve.y, color=FAINT, linestyle=curve.dash, linewidth=0.6, zorder=1)
        for curve in own:
            line: dict[str, Any] = {"linestyle": curve.dash, "marker": curve.marker, "markersize": 4}
            panel.plot(curve.x, curve.y, color=look.colour, linewidth=1.4, zorder=2, **line)
    for label, dash in kinds.items():
        axes[0].plot([], [], color=style.DARK, linestyle=dash, label=label)
    style.legend(drawing)
    return drawing, axes
