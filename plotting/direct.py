"""Names written beside the marks that they belong to, in the place of a legend."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties


ROOM = 0.65  # square inches of a panel for each name
# Points.
LINE = 9.0  # the height of a name with its gap
NEAR = 4.0  # distance, beyond the mark's radius, from which on a thin line leads from the name to its mark


@dataclass(frozen=True)
class Mark:
    """A mark and its name.

    Attributes:
        x, y: its place, in the axes' units.
        name: its name; empty for what only keeps the names away, as a line does.
        colour: of the name.
        ours: whether the name is to stand out.
        radius: of the mark, in points.
        across, up: half the length of its error bars, in the axes' units; 0 without.
    """

    x: float
    y: float
    name: str
    colour: str
    ours: bool = False
    radius: float = 3.0
    across: float = 0.0
    up: float = 0.0


def height(names: int, width: float, least: float) -> float:
    """Returns the height in inches of a panel in which names have room beside their marks.

    Args:
        names: how many there are.
        width: of the panel, in inches.
        least: the height that it has in any case.
    """
    return max(least, ROOM * names / width)


def write_names(figure: Figure, axes: Axes, marks: Sequence[Mark]) -> None:
    """Writes the names of marks beside them so that they overlap neither each other nor a mark, as far as there is room.

    To be called when everything else is drawn, since the places depend on the final layout.

    Args:
        figure: the figure.
        axes: the panel of the marks.
        marks: the marks.
    """
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    scale = 72 / figure.dpi  # points a pixel
    inside = np.asarray(axes.bbox.extents) * scale  # left, bottom, right, top

    def place_of(x: float, y: float) -> np.ndarray:
        return np.asarray(axes.transData.transform((x, y))) * scale

    places = [place_of(mark.x, mark.y) for mark in marks]  # (2,) each, in points
    taken = [box for mark, place in zip(marks, places, strict=True) for box in _own(mark, place, place_of)]
    for index in np.argsort([-y for _, y in places], kind="stable"):
        mark, place = marks[index], places[index]
        if not mark.name:
            continue
        weight = "bold" if mark.ours else "normal"
        font = FontProperties(size=rcParams["font.size"], weight=weight)
        width = renderer.get_text_width_height_descent(mark.name, font, ismath=False)[0] * scale
        boxes = [place[[0, 1, 0, 1]] + box for box in _offsets(width, mark.radius + 2)]
        best = min(boxes, key=lambda box: sum(_overlap(box, other) for other in taken) + _outside(box, inside))
        taken.append(best)
        shift = best[:2] - place
        axes.annotate(
            mark.name, (mark.x, mark.y), shift, textcoords="offset points", va="bottom", ha="left", color=mark.colour,
            weight=weight,
        ).set_in_layout(False)  # fmt: skip
        near = np.clip(0, shift, shift + np.array([width, LINE]))
        if np.hypot(*near) > mark.radius + NEAR:
            line = {"arrowstyle": "-", "color": mark.colour, "linewidth": 0.4, "shrinkA": 0, "shrinkB": mark.radius}
            axes.annotate(
                "", (mark.x, mark.y), near, textcoords="offset points", arrowprops=line
            ).set_in_layout(False)  # fmt: skip


def _own(mark: Mark, place: np.ndarray, place_of: Callable[[float, float], np.ndarray]) -> Iterator[np.ndarray]:
    """Yields the boxes of a mark and its error bars, in points."""
    yield np.concatenate([place - mark.radius, place + mark.radius])
    thin = np.array([-1, -1, 1, 1])
    for across, up in ((mark.across, 0.0), (0.0, mark.up)):
        if across or up:
            ends = place_of(mark.x - across, mark.y - up), place_of(mark.x + across, mark.y + up)
            yield np.concatenate(ends) + thin


def _offsets(width: float, gap: float) -> Iterator[np.ndarray]:
    """Yields boxes (left, bottom, right, top) around a mark at the origin, the nearest first."""
    for distance in np.arange(0.0, 150.0, 10.0):
        for left in (gap, -gap - width, -width / 2, gap + distance, -gap - distance - width):
            least = gap + LINE / 2 if left == -width / 2 else 0.0  # above or below the mark itself
            for up in (0.0, 1.0, -1.0):
                if up or not least:
                    bottom = up * (distance + least) - LINE / 2
                    yield np.array([left, bottom, left + width, bottom + LINE])


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the area that two boxes share."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    return float(np.prod(sides)) if (sides > 0).all() else 0.0


def _outside(box: np.ndarray, inside: np.ndarray) -> float:
    """Returns how far a box reaches beyond another, weighed heavier than an overlap."""
    beyond = np.concatenate([inside[:2] - box[:2], box[2:] - inside[2:]])
    return float(100 * np.maximum(beyond, 0).sum())
