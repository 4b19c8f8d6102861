"""The description of a column of a csv file, or of a key of a json file, in a run folder."""

from dataclasses import dataclass
from typing import Literal


# A csv has only the first three.
Kind = Literal["integer", "number", "text", "boolean", "list of integers", "list of numbers", "list", "mapping"]


@dataclass(frozen=True)
class Column:
    """The description of a column of a csv file, or of a key of a json file.

    Attributes:
        name: as in the csv's header or the json file; a key within a key follows a dot, as in `seconds.training`.
        kind: the type of its values; in a csv, an empty field of any kind means "not measured" or "undefined".
        meaning: a description in one sentence.
        unit: for instance `percent`, `seconds`, `bytes`, `directions`; empty without a unit.
        since: the version of the run folder's schema that introduced it, as in `1.1`. A folder of that version or a
            later one must have it; an older folder is read as if it held `default` in every row. Whoever adds a column
            raises `benchmarks.runs.schema.VERSION` and gives the new version here.
        default: its value in folders from before `since`; None for "not measured".
    """

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    since: str = "0.1"
    default: str | float | None = None
