"""Writes the tables as they are, with the numbers behind each cell at full precision, for programs: `.json`."""

import json

from benchmarks.comparison.contents import Comparison


SUFFIXES = (".json",)


def write(comparison: Comparison) -> str:
    """Returns the json text: a list with an object for each group of runs, and one for the published results beside it.

    Each has `title`, `notes` (sentences), `methods` (their names for `--baseline`; empty for published results) and
    `tables`. A table has `title`, `notes`, `header` and `rows`; a row has a cell for each heading, an object with `text`
    (as it is printed), `value` (the number, or null), `spread` (the standard deviation, or half the width of a confidence
    interval, in the same unit; or null) and `mark` (`best`, `second` or empty).

    Args:
        comparison: the groups of runs, and which tables to make of them.
    """
    found = [
        {
            "title": section.title,
            "notes": section.notes,
            "methods": section.keys,
            "tables": [
                {
                    "title": table.title,
                    "notes": table.notes,
                    "header": table.header,
                    "rows": [[vars(cell) for cell in row] for row in table.rows],
                }
                for table in section.tables
            ],
        }
        for section in comparison.sections()
    ]
    return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
