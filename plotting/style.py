"""The look of every plot: sizes for a two-column paper, colours that colour-blind readers tell apart, and files that
come out the same, byte for byte, whenever the figures are the same."""

import io
import textwrap
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font
from matplotlib.ticker import MaxNLocator

from benchmarks import files


# Inches: one column and the full page of the usual two-column proceedings.
COLUMN = 3.3
PAGE = 6.8

# Inches that an average letter takes at the 7 points used here: enough to tell whether a label fits.
LETTER = 0.062

# Okabe and Ito (2008), "Color Universal Design".
BLACK = "#000000"
GREY = "#999999"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#E69F00"

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
    "svg.fonttype": "path",
    "svg.hashsalt": "nusa-bench",  # matplotlib draws the ids in an svg at random without one
}


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


def over_tasks(axes: Axes, tasks: int, ticks: int) -> None:
    """Let the x axis count the tasks learned, 0 to T, with about so many ticks."""
    axes.set_xlim(-0.03 * tasks, 1.03 * tasks)
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))


def legend(figure: Figure, columns: int) -> None:
    """Explain the lines of all panels once, above them; they are the same in each."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=max(columns, 1))


def wrap(name: str, width: float) -> str:
    """Break a name into lines of at most `width` inches."""
    return textwrap.fill(name, max(int(width / LETTER), 8))


@paper()
def save(figure: Figure, path: Path) -> None:
    """Write an image in the format of the path's suffix, png or svg; whole or not at all."""
    form = path.suffix[1:]
    image = io.BytesIO()
    # A drawing says when it was made unless told not to.
    figure.savefig(image, format=form, metadata={"Date": None} if form == "svg" else None)
    files.write_bytes(path, image.getvalue())
