"""Reads the alternatives of a setting as a command line names them: `0.9,0.95`, `42..46`, `[q,k],[q,k,v,o]`."""

import re
from math import inf


MOST = 100_000  # alternatives, and cells of a sweep
RANGE = re.compile(r"(-?\d{1,15})\.\.(-?\d{1,15})")
PART = re.compile(r"\[([^\]]*)\]|((?!\[)[^,]*)")  # one in brackets, or up to the next comma


def alternatives(text: str) -> list[str]:
    """Returns the alternatives in a text, in their order.

    Commas separate them. `42..46` stands for all integers from 42 to 46. Brackets keep together what has commas of its
    own: `[q,k],[q,k,v,o]` are two.

    Args:
        text: as typed, such as `42..44,50`.

    Raises:
        ValueError: an alternative is empty, a bracket is not closed, or a range is empty or too long.
    """
    found: list[str] = []
    at = 0
    while at <= len(text):
        part = PART.match(text, at)
        if part is None:
            raise ValueError(f'"{text}": a bracket is not closed')
        at = part.end()
        if at < len(text) and text[at] != ",":
            raise ValueError(f'"{text}": expected a comma after "{text[:at]}"')
        at += 1
        whole = part[1] is not None
        value = (part[1] if whole else part[2]).strip()
        if not value:
            raise ValueError(f'"{text}": an alternative is empty')
        found += [value] if whole else _spread(value)
    return found


def _spread(value: str) -> list[str]:
    """The integers of a range; any other value alone."""
    ends = RANGE.fullmatch(value)
    if ends is None:
        return [value]
    first, last = int(ends[1]), int(ends[2])
    if last < first:
        raise ValueError(f'"{value}": the range is empty; write the smaller number first')
    if last - first >= MOST:
        raise ValueError(f'"{value}": more than {MOST} numbers')
    return [str(number) for number in range(first, last + 1)]


def is_number(value: object) -> bool:
    """Returns whether a value is a number that is finite; a truth value is none.

    Args:
        value: anything.
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and -inf < value < inf
