"""What a method is called, how it is drawn, and which published figures it answers to: the `ABOUT` of its file.

Light: a run's record, tables and plots read it without importing the method, so neither torch nor Avalanche. A method's
file writes it with the names of this module alone.
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

# Matplotlib's markers, which tell the methods apart in grey print too. Seven colours and eleven markers have no common
# divisor, so stepping through both at once gives 77 different pairs.
Marker = Literal["o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "*"]
MARKERS: tuple[str, ...] = get_args(Marker)
BUILT_IN = 21  # pairs that this project's own methods take

Colour = Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$")]
Line = Annotated[str, Field(pattern=r"^[^\n\r]*$")]


@dataclass(frozen=True)
class Published:
    """What a run must be to be set beside a row of `benchmarks/comparison/published.csv`.

    Attributes:
        settings: that make the method the published one; all others must be the recipe's.
        tolerance: points between a run and a published figure that are called agreement; None: as for most methods.
        needs: settings that must be given, whatever their value.
        differs: why the two are shown but not compared: for all protocols, or by protocol. Empty: they are compared.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    tolerance: float | None = None
    needs: tuple[str, ...] = ()
    differs: str | dict[str, str] = ""


@dataclass(frozen=True)
class About:
    """A method as tables and figures present it.

    Attributes:
        name: in tables and legends; short.
        reference: the paper, or what else defines the method, in a line.
        colour: in every figure, as `#RRGGBB`.
        marker: in every figure.
        published: the rows of `published.csv` that it answers to, by name.
        figures: version of what the method computes. Raise it by hand when the method's figures change.
    """

    name: Line
    reference: Line
    colour: Colour
    marker: Marker
    published: dict[str, Published] = field(default_factory=dict)
    figures: int = 1


def default(strategy: str) -> About:
    """What holds for a strategy that says nothing about itself: its look depends on its command-line name alone.

    The look is none of a built-in method's.
    """
    place = BUILT_IN + zlib.crc32(strategy.encode()) % (len(COLOURS) * len(MARKERS) - BUILT_IN)
    return About(strategy, "", COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)])  # type: ignore[arg-type]
