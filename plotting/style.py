"""The common style of all figures: sizes for a two-column paper or a slide, a font, and each method's colour and marker.

Equal values give files that are equal byte for byte.
"""

import io
import math
import re
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import FigureCanvasPdf, Op, PdfFile, RendererPdf
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font
from matplotlib.ticker import MaxNLocator

from benchmarks.comparison.groups import Method
from benchmarks.config.errors import UserError
from benchmarks.config.registry import nearest
from benchmarks.config.terminal import say
from benchmarks.runtime import files
from strategies.about import MARKERS, OURS


# Inches: one column and the full page of the usual two-column proceedings.
COLUMN = 3.3
PAGE = 6.8

LETTER = 0.062  # inches of a label for each of its letters at 7 points in `FONT`, to estimate whether it fits
POINTS = 72  # of an inch, in a pdf
HANDLE = 0.55  # inches of a legend's entry without its text

# For lines that belong to no method; methods define their colours and markers.
GREY = "#999999"
DARK = "#444444"
DASHES = ("-", "--", ":", "-.")  # for variants of one strategy

FONT = "DejaVu Sans"  # installed with matplotlib
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
# Fallbacks for letters that it lacks, if installed: on Linux, macOS and Windows.
MORE_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo",
    "Yu Gothic", "Microsoft YaHei", "Malgun Gothic", "Noto Sans Devanagari", "Noto Sans Thai", "Arial Unicode MS",
)  # fmt: skip

_asked: ContextVar[str | None] = ContextVar("font", default=None)

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
    "pdf.fonttype": 42,  # TrueType: some venues refuse matplotlib's default
    "svg.fonttype": "path",
    "svg.hashsalt": "nusa-bench",  # without it the ids in an svg are random
}


@dataclass(frozen=True)
class Look:
    """How a method is drawn in a figure.

    Attributes:
        colour: as `#RRGGBB`.
        marker: matplotlib's marker, such as `o`.
        dash: matplotlib's line style, such as `--`. Markers are filled if it is `-`, else open.
        ours: whether the method is one that this project is about, which stands out.
    """

    colour: str
    marker: str
    dash: str
    ours: bool = False

    def line(self) -> dict[str, Any]:
        """Returns the keyword arguments of colour, marker, line style and width for matplotlib's `Axes.plot`."""
        face = self.colour if self.dash == "-" else "white"
        line = {"color": self.colour, "marker": self.marker, "linestyle": self.dash, "markerfacecolor": face}
        stands_out = {"linewidth": 2.0, "zorder": 2.5} if self.ours else {"linewidth": 1.1}
        return {**line, **stands_out, "markeredgewidth": 0.7}  # with a thicker edge a small open marker looks filled


def looks(methods: Sequence[Method]) -> list[Look]:
    """Returns colour, marker and line style of each method, in the order of `methods`.

    No two have both colour and marker in common, as long as a colour has markers left. Methods of the same strategy, which
    differ in their settings, have its colour; they differ in marker, in line style, and in filled or open markers.

    Args:
        methods: the methods of one figure.
    """
    own = {(method.about.colour, method.about.marker) for method in methods}
    taken: set[tuple[str, str]] = set()
    seen: Counter[str] = Counter()
    found = []
    for method in methods:
        about, place = method.about, MARKERS.index(method.about.marker)
        free = [each for each in (*MARKERS[place:], *MARKERS[:place]) if (about.colour, each) not in taken]
        # Of those that are left, first one that is no other method's own.
        marker = min(free, key=lambda each: each != about.marker and (about.colour, each) in own, default=about.marker)
        taken.add((about.colour, marker))
        dash = DASHES[seen[method.strategy] % len(DASHES)]
        found.append(Look(about.colour, marker, dash, method.strategy in OURS))
        seen[method.strategy] += 1
    return found


@contextmanager
def paper() -> Iterator[None]:
    """Context manager or decorator: within it figures are drawn and saved in this project's style (sizes, fonts, lines
    for a two-column paper), independent of the user's matplotlibrc.
    """
    with matplotlib.style.context(["default", SETTINGS, {"font.family": fonts()}]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # `say_missing_letters` reports it once
        yield


@contextmanager
def font(name: str | None) -> Iterator[None]:
    """Context manager within which figures are drawn and saved in a font; letters that it lacks come from the usual ones.

    Args:
        name: the family's name, as installed; None for the usual fonts.

    Raises:
        UserError: it is not installed.
    """
    if name is not None and name not in _installed():
        raise UserError(f"--font {name}: no such font is installed{nearest(name, sorted(_installed()))}")
    before = _asked.set(name)
    try:
        yield
    finally:
        _asked.reset(before)


@cache
def _installed() -> frozenset[str]:
    return frozenset(font.name for font in fontManager.ttflist)


def fonts() -> list[str]:
    """Returns the names of the installed fonts for the figures' text, in order of preference: a letter is drawn in the
    first that has it.
    """
    asked = _asked.get()
    return [*([asked] if asked else []), FONT, *(name for name in MORE_FONTS if name in _installed())]


def letter() -> float:
    """Returns the width in inches that a label needs for each of its letters, on average, to estimate whether it fits."""
    return LETTER * _alphabet(fonts()[0]) / _alphabet(FONT)


@cache
def _alphabet(name: str) -> float:
    face = get_font(findfont(name))
    face.set_size(70, 72)
    face.set_text(ALPHABET)
    return float(face.get_width_height()[0])


def missing_letters(texts: Iterable[str]) -> str:
    """Returns the letters that none of the installed fonts for figures has, each once; figures show boxes instead.

    Args:
        texts: the texts of the figures, such as names of tasks.
    """
    drawn = [get_font(findfont(name)) for name in fonts()]
    letters = dict.fromkeys(letter for text in texts for letter in text if letter.isprintable())
    return "".join(letter for letter in letters if not any(font.get_char_index(ord(letter)) for font in drawn))


def say_missing_letters(texts: Iterable[str]) -> None:
    """Prints a line on stderr with the letters that none of the installed fonts for figures has, if there are any.

    Args:
        texts: the texts of the figures, such as names of tasks.
    """
    if letters := missing_letters(texts):
        say(f"no font here has {letters}: boxes in the plots; Noto Sans CJK and others would do")


def over_tasks(axes: Axes, tasks: int, ticks: int) -> None:
    """Sets limits and integer ticks of an x axis that shows the number of tasks learned, 0 to T.

    Args:
        axes: the panel.
        tasks: T.
        ticks: approximate number of ticks.
    """
    axes.set_xlim(-0.03 * tasks, 1.03 * tasks)
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))


def legend(figure: Figure, columns: int | None = None) -> None:
    """Adds one legend above all panels, with the labelled lines of the first panel.

    Args:
        figure: the figure.
        columns: the number of columns; None uses as many as fit.
    """
    handles, labels = figure.axes[0].get_legend_handles_labels()
    width = figure.get_figwidth()
    columns = legend_columns(labels, width) if columns is None else columns
    labels = [wrap(label, width - HANDLE) for label in labels]
    figure.legend(handles, labels, loc="outside upper center", ncols=max(columns, 1))


def legend_columns(labels: Sequence[str], width: float) -> int:
    """Returns how many columns of a legend fit into a figure, at least 1 and at most as many as there are labels.

    Args:
        labels: the names in the legend.
        width: of the figure, in inches.
    """
    longest = letter() * max(map(len, labels), default=0) + HANDLE
    return max(min(int(width / longest), len(labels)), 1)


def legend_height(labels: Sequence[str], width: float) -> float:
    """Returns the height of a figure's legend in inches, estimated for as many columns as fit.

    Args:
        labels: the names in the legend.
        width: of the figure, in inches.
    """
    lines = max((wrap(label, width - HANDLE).count("\n") + 1 for label in labels), default=1)
    return 0.14 * lines * math.ceil(len(labels) / legend_columns(labels, width)) + 0.1


def plot_band(axes: Axes, values: np.ndarray, look: Look, label: str | None = None) -> np.ndarray:
    """Draws the mean over R runs of a value after 0 to S-1 tasks, and returns the mean, (S,).

    A band shows one standard deviation to each side; a single run has none.

    Args:
        axes: the panel.
        values: (R, S), one row for each run, one column for each number of tasks learned.
        look: colour, marker and line style.
        label: the line's name in the legend; None for none.
    """
    average = mean(values)
    axes.plot(average, label=label, markevery=max(len(average) // 11, 1), **look.line())
    if len(values) > 1:
        deviation = values.std(axis=0, ddof=1)
        states = np.arange(len(average))
        axes.fill_between(states, average - deviation, average + deviation, color=look.colour, alpha=0.2, linewidth=0)
    return average


def mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean over runs of values after 0 to S-1 tasks, (S,); NaN without runs.

    Args:
        values: (R, S), one row for each run.
    """
    return values.mean(axis=0) if len(values) else np.full(values.shape[1], np.nan)


def cut(name: str, most: int) -> str:
    """Returns a name, with `…` in the place of what is too long.

    Args:
        name: the text.
        most: the number of characters that there is room for.
    """
    return name if len(name) <= most else f"{name[: most - 1]}…"


def wrap(name: str, width: float) -> str:
    """Returns a name broken into lines that fit into a width; a line may have eight characters in any case.

    Args:
        name: the text.
        width: in inches, at the letters' average width.
    """
    return textwrap.fill(name, max(int(width / letter()), 8), break_on_hyphens=False)


@paper()
def image(figure: Figure, form: str, scale: float = 1.0) -> bytes:
    """Returns the content of a figure's file as bytes. Equal figures give equal bytes.

    Args:
        figure: the figure.
        form: `png`, `svg` or `pdf`.
        scale: how much larger than the figure all is that the file shows, letters and lines too.
    """
    if form == "pdf":
        return _pdf(figure, scale)
    drawn = io.BytesIO()
    dpi = float(SETTINGS["savefig.dpi"]) * scale  # type: ignore[arg-type]
    # Omit the date, so that equal figures give equal files.
    figure.savefig(drawn, format=form, dpi=dpi, metadata={"Date": None} if form == "svg" else None)
    return _enlarged(drawn.getvalue(), scale) if form == "svg" else drawn.getvalue()


def _enlarged(svg: bytes, scale: float) -> bytes:
    """Scales the size that a drawing says it has; its content is in units of its own."""
    head, tag, rest = svg.partition(b"<svg ")
    said, end, content = rest.partition(b">")
    larger = re.sub(
        rb'(width|height)="([\d.]+)pt"', lambda found: b'%s="%.6gpt"' % (found[1], scale * float(found[2])), said
    )
    return head + tag + larger + end + content


def _pdf(figure: Figure, scale: float) -> bytes:
    """Matplotlib has no scale for a page, so the page is made here, and drawn on by matplotlib."""
    drawn = io.BytesIO()
    width, height = figure.get_size_inches()
    FigureCanvasPdf(figure)
    figure.dpi = POINTS
    file = PdfFile(drawn, metadata={"CreationDate": None})
    file.newPage(scale * width, scale * height)
    file.output(scale, 0, 0, scale, 0, 0, Op.concat_matrix)
    renderer = RendererPdf(file, POINTS, height, width)
    figure.draw(renderer)
    renderer.finalize()
    file.finalize()
    file.close()
    return drawn.getvalue()


def save(figure: Figure, path: Path, scale: float = 1.0) -> None:
    """Writes a figure to a file, completely or not at all.

    Args:
        figure: the figure.
        path: the file; its suffix, `.png`, `.svg` or `.pdf`, is the format. A missing folder is made.
        scale: how much larger than the figure all is that the file shows.

    Raises:
        UserError: the file cannot be written.
    """
    files.write_bytes(path, image(figure, path.suffix[1:].lower(), scale))
