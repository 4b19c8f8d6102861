"""The page of a study in `docs/findings`: its tables between two marks that a command renews, and what is written by hand."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.comparison.collection import Runs
from benchmarks.comparison.formats import markdown
from benchmarks.config.errors import UserError
from benchmarks.runtime import files
from benchmarks.studies import values
from benchmarks.studies.base import Named, Row


WIDEST = 100  # characters of a line
SKELETON = """# {question}

**These values say nothing about MTIL.** They are of `micro`, whose tasks and CLIP are tiny.

{reading}

```
uv run --extra cluster python -m benchmarks.study {name}
```

![{alt}]({name}.png)

{block}

## Answer

Not measured yet.

## What it does not show

{not_shown}
"""


def tables(found: Named, runs: Runs, rows: Sequence[Row] = ()) -> str:
    """Returns the tables of a study as Markdown text; a note that several have stands below the first of them.

    Args:
        found: the study.
        runs: its finished runs.
        rows: of what it has measured besides.
    """
    made = found.make(found.study.tables, runs, rows)
    seeds = values.seeds(runs) if runs else len({row["seed"] for row in rows if "seed" in row})
    few = seeds < values.LEAST
    parts, said = [values.FEWER] if few else [], {values.FEWER}
    for table in map(values.without_intervals, made) if few else made:
        parts.append(markdown.whole(replace(table, notes=[note for note in table.notes if note not in said])))
        said.update(table.notes)
    marks = [markdown.MARKS] if any(table.is_marked for table in made) else []
    return "\n\n".join([*parts, *marks]) + "\n"


def renew(found: Named, place: Path, text: str) -> None:
    """Puts a study's tables into its page, which is made if there is none; what else stands there is left as it is.

    Args:
        found: the study.
        place: the page.
        text: the tables, as Markdown.

    Raises:
        UserError: the page has no place for the tables, or cannot be written.
    """
    head = f"<!-- uv run python -m benchmarks.study {found.name} --page -->"
    block = f"{head}\n\n{text}\n<!-- end -->"
    if place.is_file():
        pattern = re.compile(re.escape(head) + r".*?<!-- end -->", re.DOTALL)
        renewed, count = pattern.subn(lambda _: block, place.read_text(encoding="utf-8"))
        if not count:
            raise UserError(f"{place}: has no {head} with <!-- end --> behind it; the tables belong between the two")
        files.write_text(place, renewed)
        return
    words = SKELETON.format(
        question=found.question.rstrip("."), reading=_wrapped(found.reading), name=found.name, alt=found.study.alt, block=block,
        not_shown=_wrapped(found.study.not_shown),
    )  # fmt: skip
    files.write_text(place, words)


def _wrapped(text: str) -> str:
    """Paragraphs and lists of a docstring in lines of a page."""
    parts = []
    for part in text.split("\n\n"):
        lines = part.split("\n")
        plain = not any(line.startswith(("-", " ", "|")) for line in lines)
        parts.append(textwrap.fill(" ".join(lines), WIDEST, break_on_hyphens=False) if plain else part)
    return "\n\n".join(parts)
