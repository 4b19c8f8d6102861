"""The look of every figure: sizes for a two-column paper, methods that look alike everywhere, and files that come out the
same, byte for byte, whenever the values are the same."""

import io
import math
import sys
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font
from matplotlib.ticker import MaxNLocator

from benchmarks.comparison.groups import Method
from benchmarks.runtime import files
from strategies.about import MARKERS


# Inches: one column and the full page of the usual two-column proceedings.
COLUMN = 3.3
PAGE = 6.8

# Inches that an average letter takes at the 7 points used here: enough to tell whether a label fits.
LETTER = 0.062
HANDLE = 0.55  # inches of a legend's entry beside its words

GREY = "#999999"  # what is no method's; their colours and markers stand in their files
DASHES = ("-", "--", ":", "-.")  # for variants of one strategy

FONT = "DejaVu Sans"  # comes with matplotlib, so every machine has it
# For letters that it lacks, those of these that are installed: on Linux, macOS and Windows.
MORE_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo",
    "Yu Gothic", "Microsoft YaHei", "Malgun Gothic", "Noto Sans Devanagari", "Noto Sans Thai", "Arial Unicode MS",
)  # fmt: skip

SETTINGS = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "figure.titlesize": 7,
    "figure.labelsize": 7,
    "text.parse_math": False,  # a task's name may hold a dollar sign
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # some venues refuse matplotlib's own kind
    "svg.fonttype": "path",
    "svg.hashsalt": "nusa-bench",  # matplotlib draws the ids in an svg at random without one
}


@dataclass(frozen=True)
class Look:
    """How a method is drawn wherever it is."""

    colour: str
    marker: str
    dash: str

    def line(self) -> dict[str, Any]:
        """Arguments of `Axes.plot`."""
        face = self.colour if self.dash == "-" else "white"
        line = {"color": self.colour, "marker": self.marker, "linestyle": self.dash, "markerfacecolor": face}
        return {**line, "markeredgewidth": 0.7}  # thin, or a small open marker looks filled


def looks(methods: Sequence[Method]) -> list[Look]:
    """Of each method; variants of a strategy share its colour, and differ in dashes and filling, then in the marker."""
    seen: Counter[str] = Counter()
    found = []
    for method in methods:
        rounds, dash = divmod(seen[method.strategy], len(DASHES))
        marker = MARKERS[(MARKERS.index(method.about.marker) + rounds) % len(MARKERS)]
        found.append(Look(method.about.colour, marker, DASHES[dash]))
        seen[method.strategy] += 1
    return found


@contextmanager
def paper() -> Iterator[None]:
    """Settings for drawing and saving, whatever the reader's own matplotlibrc says; a decorator as well."""
    with matplotlib.style.context(["default", SETTINGS, {"font.family": fonts()}]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # `missing_letters` says it once
        yield


@cache
def fonts() -> list[str]:
    """Names of the fonts that are used, the first that has a letter draws it."""
    installed = {font.name for font in fontManager.ttflist}
    return [FONT, *(name for name in MORE_FONTS if name in installed)]


def missing_letters(texts: Iterable[str]) -> str:
    """The letters that none of the fonts has, each once: boxes stand for them."""
    drawn = [get_font(findfont(name)) for name in fonts()]
    letters = dict.fromkeys(letter for text in texts for letter in text if letter.isprintable())
    return "".join(letter for letter in letters if not any(font.get_char_index(ord(letter)) for font in drawn))


def say_missing_letters(texts: Iterable[str]) -> None:
    """On stderr, if there are any."""
    if letters := missing_letters(texts):
        print(f"no font here has {letters}: boxes in the plots; Noto Sans CJK and others would do", file=sys.stderr)


def over_tasks(axes: Axes, tasks: int, ticks: int) -> None:
    """Let the x axis count the tasks learned, 0 to T, with about so many ticks."""
    axes.set_xlim(-0.03 * tasks, 1.03 * tasks)
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))


def legend(figure: Figure, columns: int | None = None) -> None:
    """Explain the lines of all panels once, above them; they are the same in each.

    Args:
        columns: as many as fit the figure unless told.
    """
    handles, labels = figure.axes[0].get_legend_handles_labels()
    width = figure.get_figwidth()
    columns = legend_columns(labels, width) if columns is None else columns
    labels = [wrap(label, width - HANDLE) for label in labels]
    figure.legend(handles, labels, loc="outside upper center", ncols=max(columns, 1))


def legend_columns(labels: Sequence[str], width: float) -> int:
    """As many as fit."""
    longest = LETTER * max(map(len, labels), default=0) + HANDLE
    return max(min(int(width / longest), len(labels)), 1)


def legend_height(labels: Sequence[str], width: float) -> float:
    """Inches that `legend` takes of a figure's height."""
    lines = max((wrap(label, width - HANDLE).count("\n") + 1 for label in labels), default=1)
    return 0.14 * lines * math.ceil(len(labels) / legend_columns(labels, width)) + 0.1


def plot_band(axes: Axes, values: np.ndarray, look: Look, label: str | None = None) -> np.ndarray:
    """Draw and return the mean (S,) of `values` (R, S) over R runs, against the states 0..S-1.

    The band is a standard deviation to each side; a single run has none.
    """
    mean = values.mean(axis=0)  # (S,)
    axes.plot(mean, label=label, markevery=max(len(mean) // 11, 1), **look.line())
    if len(values) > 1:
        deviation = values.std(axis=0, ddof=1)
        states = np.arange(len(mean))
        axes.fill_between(states, mean - deviation, mean + deviation, color=look.colour, alpha=0.2, linewidth=0)
    return mean


def wrap(name: str, width: float) -> str:
    """Break a name into lines of at most `width` inches."""
    return textwrap.fill(name, max(int(width / LETTER), 8))


@paper()
def image(figure: Figure, form: str) -> bytes:
    """A drawing as png, svg or pdf."""
    drawn = io.BytesIO()
    # A drawing says when it was made unless told not to.
    dates: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    figure.savefig(drawn, format=form, metadata=dates.get(form))
    return drawn.getvalue()


def save(figure: Figure, path: Path) -> None:
    """Write a drawing in the format of the path's suffix, png, svg or pdf; whole or not at all."""
    files.write_bytes(path, image(figure, path.suffix[1:].lower()))
