"""A column of a table in a run folder, or a key of a json file there, as whoever fills it declares it."""

from dataclasses import dataclass
from typing import Literal


# The first three are a csv's.
Kind = Literal["integer", "number", "text", "boolean", "list of integers", "list of numbers", "list", "mapping"]


@dataclass(frozen=True)
class Column:
    """What a column or a key holds.

    Attributes:
        name: as in the csv's header or the json file; a key within a key follows a dot.
        kind: an empty field of a csv of any kind is "not measured" or "undefined".
        meaning: in one sentence.
        unit: for instance `percent`, `seconds`, `bytes`, `directions`; empty for what has none.
        since: the schema version that first had it. Add a column with the next version (`benchmarks.runs.schema.VERSION`):
            a folder of that version or a later one must have it, older ones read as if it held `default` in every row.
        default: what holds in folders from before `since`; None for "not measured".
    """

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    since: str = "0.1"
    default: str | float | None = None
