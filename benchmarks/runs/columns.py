"""A column of a table in a run folder, as whoever fills it declares it."""

from dataclasses import dataclass
from typing import Literal


Kind = Literal["integer", "number", "text"]


@dataclass(frozen=True)
class Column:
    """What a column holds.

    Attributes:
        name: as in the csv's header.
        kind: `integer`, `number` or `text`; an empty field of any kind is "not measured" or "undefined".
        unit: for instance `percent`, `seconds`, `bytes`, `directions`; empty for what has none.
        meaning: in one sentence.
    """

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
