"""The look of every plot: sizes for a two-column paper, colours that colour-blind readers tell apart, and files that
come out the same, byte for byte, whenever the figures are the same."""

import io
import math
import sys
import textwrap
import warnings
import zlib
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


# Inches: one column and the full page of the usual two-column proceedings.
COLUMN = 3.3
PAGE = 6.8

# Inches that an average letter takes at the 7 points used here: enough to tell whether a label fits.
LETTER = 0.062
HANDLE = 0.55  # inches of a legend's entry beside its words

# Okabe and Ito (2008), "Color Universal Design".
BLACK = "#000000"
GREY = "#999999"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#E69F00"
SKY = "#56B4E9"

# A colour and a marker for each strategy, the same in every figure; the markers also tell them apart in grey print. Seven and
# eleven have no common divisor, so 77 strategies differ.
COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, BLACK, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "*")
STRATEGIES = (
    "nusa", "lora", "zscl", "moe_adapter", "inflora", "finetune", "milora", "olora", "lwf", "lwf_vr", "wise_ft", "icarl",
    "diki", "joint", "zeroshot", "avalanche:lwf", "avalanche:ewc", "avalanche:si", "avalanche:replay", "avalanche:agem",
    "avalanche:gem",
)  # fmt: skip
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
        name = method.strategy
        # The user's own strategies have a place beyond the known ones, by their name alone.
        place = STRATEGIES.index(name) if name in STRATEGIES else len(STRATEGIES) + zlib.crc32(name.encode()) % 56
        dash, marker = DASHES[seen[name] % len(DASHES)], MARKERS[(place + seen[name] // len(DASHES)) % len(MARKERS)]
        found.append(Look(COLOURS[place % len(COLOURS)], marker, dash))
        seen[name] += 1
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


def plot_band(axes: Axes, figures: np.ndarray, look: Look, label: str | None = None) -> np.ndarray:
    """Draw the mean over runs (R, S) against the states 0..S-1 with a standard deviation to each side, and return it.

    A single run has no band.
    """
    mean = figures.mean(axis=0)  # (S,)
    axes.plot(mean, label=label, markevery=max(len(mean) // 11, 1), **look.line())
    if len(figures) > 1:
        deviation = figures.std(axis=0, ddof=1)
        states = np.arange(len(mean))
        axes.fill_between(states, mean - deviation, mean + deviation, color=look.colour, alpha=0.2, linewidth=0)
    return mean


def wrap(name: str, width: float) -> str:
    """Break a name into lines of at most `width` inches."""
    return textwrap.fill(name, max(int(width / LETTER), 8))


@paper()
def save(figure: Figure, path: Path) -> None:
    """Write an image in the format of the path's suffix, png, svg or pdf; whole or not at all."""
    form = path.suffix[1:].lower()
    image = io.BytesIO()
    # A drawing says when it was made unless told not to.
    dates: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    figure.savefig(image, format=form, metadata=dates.get(form))
    files.write_bytes(path, image.getvalue())
