"""A grid of panels with common axes, one for each task or mean."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plotting import style


# Inches.
PANEL_HEIGHT = 1.0
FURNITURE = 0.5
LONGEST = 60  # letters of a title: a longer one leaves no room for its panel
MANY = 18  # panels, beyond which they get narrower
ROUNDING = 1e-9  # three of 1.1 inches fit into 3.3


def panels(titles: Sequence[str], labels: Sequence[str], width: float) -> tuple[Figure, list[Axes]]:
    """Returns a figure with one panel for each title, all with the same axes, and the panels in their order.

    Its height leaves room for the titles and for a legend above.

    Args:
        titles: the panels' titles, which are broken into lines where they are long.
        labels: the names in the legend.
        width: in inches.
    """
    columns = min(len(titles), max(int(width / (1.6 if len(titles) <= MANY else 1.1) + ROUNDING), 2))
    rows = math.ceil(len(titles) / columns)
    wrapped = [style.wrap(title, width / columns) for title in titles]
    lines = max(title.count("\n") for title in wrapped) + 1
    height = FURNITURE + style.legend_height(labels, width) + rows * (PANEL_HEIGHT + 0.13 * lines)
    drawing = Figure((width, height), layout="constrained")
    found: list[Axes] = []
    for place, title in enumerate(wrapped):
        first = found[0] if found else None
        axes = drawing.add_subplot(rows, columns, place + 1, sharex=first, sharey=first)
        axes.set_title(title)
        axes.tick_params(labelleft=place % columns == 0)
        found.append(axes)
    return drawing, found


def numbered(tasks: Sequence[str]) -> list[str]:
    """Returns the tasks' names with their numbers in learning order, from 1, as titles of panels.

    Args:
        tasks: names in learning order.
    """
    return [style.cut(f"{number} {name}", LONGEST) for number, name in enumerate(tasks, start=1)]
