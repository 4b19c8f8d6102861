"""Facts about a method for tables and figures: its name, look and paper, and published results to compare with.

Each method's file defines an `About` named `ABOUT`, using only names of this module. Records, tables and plots read it
without importing the method, hence without torch and Avalanche.
"""

import zlib
from dataclasses import field
from typing import Annotated, Any, Literal, get_args

from pydantic import Field
from pydantic.dataclasses import dataclass


# Okabe and Ito (2008), "Color Universal Design": colour-blind readers tell these apart.
BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREEN = "#009E73"
ORANGE = "#E69F00"
PURPLE = "#CC79A7"
BLACK = "#000000"
SKY = "#56B4E9"
COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, BLACK, SKY)

# Markers of Matplotlib; they tell the methods apart in grey print too. Since 7 colours and 11 markers have no common
# divisor, stepping through both at once gives 77 different pairs.
Marker = Literal["o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "*"]
MARKERS: tuple[str, ...] = get_args(Marker)
OURS = ("nusa",)  # the methods that this project is about, which stand out in figures
BUILT_IN = 39  # colour and marker pairs that are left to this project's own methods

Colour = Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$")]
Line = Annotated[str, Field(pattern=r"^[^\n\r]*$")]


@dataclass(frozen=True)
class Published:
    """When a run may be shown beside a row of `benchmarks/comparison/published.csv`, and whether the two are compared.

    Attributes:
        settings: the settings that make the method the published one, from name to value. All other settings must be
            those of the stream's recipe.
        tolerance: the largest difference, in percentage points, that is called agreement; None for the `tolerance` in
            `benchmarks/comparison/published.yaml`.
        needs: names of settings that must be given, whatever their value.
        differs: why the row is shown but not compared: one reason for all protocols, or a reason by the protocol's
            name or its beginning, such as `MTIL 5-shot` or `CIL`. Empty if the row is compared.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    tolerance: float | None = None
    needs: tuple[str, ...] = ()
    differs: str | dict[str, str] = ""


@dataclass(frozen=True)
class About:
    """A method as tables and figures present it.

    Attributes:
        name: a short name, for tables and legends.
        reference: the paper, or what else defines the method, in one line.
        colour: the method's colour in every figure, as `#RRGGBB`.
        marker: the method's marker in every figure, one of Matplotlib's.
        published: the rows of `benchmarks/comparison/published.csv` that report this method. The key is the row's entry
            in the column `method`, the value says which runs may be compared with it.
        figures: the version of the method's results, an integer. Raise it by hand when a change alters the numbers the
            method computes.
    """

    name: Line
    reference: Line
    colour: Colour
    marker: Marker
    published: dict[str, Published] = field(default_factory=dict)
    figures: int = 1


def default(strategy: str) -> About:
    """Returns the `About` (name, colour, marker) of a strategy whose file defines none.

    The name is the strategy's, and the reference is empty. Colour and marker depend only on the strategy's name, and
    differ from those of all built-in methods.

    Args:
        strategy: the strategy's name on the command line.
    """
    place = BUILT_IN + zlib.crc32(strategy.encode()) % (len(COLOURS) * len(MARKERS) - BUILT_IN)
    return About(strategy, "", COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)])  # type: ignore[arg-type]
