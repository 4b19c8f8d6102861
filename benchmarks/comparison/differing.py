"""Says in which settings the rows of a table differ beside those in their names: steps, learning rates, ranks."""

from benchmarks.comparison.groups import OF_THE_GROUP, OF_THE_RUN, Group, Method, shown
from benchmarks.config.settings import COMMON_NAMES


# The settings of all strategies, and the one that most low-rank ones share. What else a method has is its own.
COMPARED = (*(name for name in COMMON_NAMES if name not in ("strategy", *OF_THE_RUN, *OF_THE_GROUP)), "rank")
NAMES, VALUES = 8, 12  # methods that a value names, and values that a setting lists


def notes(group: Group) -> list[str]:
    """Returns one sentence with each setting that differs between the methods of a group, and which methods have which
    value; nothing if none differs.

    Only settings that every strategy has and the rank are compared. What every method has in its label is left out, and
    so are methods that learn nothing.

    Args:
        group: the runs.
    """
    methods = [method for method in group.methods if not method.runs[0].learns_nothing]
    said = [words for name in COMPARED if (words := _differing(methods, name))]
    return [f"Settings that differ between the rows: {'; '.join(said)}."] if said else []


def _differing(methods: list[Method], name: str) -> str:
    """Returns the values of a setting with the methods that have each, `lr 0.003 (LoRA), 0.01 (all others)`, the
    commonest value last; empty if there is one value alone.
    """
    having = [method for method in methods if name in method.runs[0].config]
    if all(f" {name}=" in method.telling for method in having):
        return ""
    found: dict[str, list[Method]] = {}
    for method in having:
        found.setdefault(shown(method.runs[0].config[name]), []).append(method)
    if len(found) < 2:
        return ""
    if len(found) > VALUES:
        return f"{name} ({len(found)} values among {len(having)} methods)"
    values = sorted(found, key=size)
    most = max(values, key=lambda value: len(found[value]))
    rows = {value: _names(found[value], having) for value in values}
    if len(found[most]) > 1:
        del rows[most]
        rows[most] = "all others" if len(having) == len(methods) else "the others that have it"
    return f"{name} {', '.join(f'{value} ({names})' for value, names in rows.items())}"


def _names(methods: list[Method], among: list[Method]) -> str:
    """Returns the methods' names; variants of one strategy that are all of its variants have the strategy's name."""
    named: dict[str, None] = {}
    for method in methods:
        variants = [other for other in among if other.strategy == method.strategy]
        named[method.name if all(other in methods for other in variants) else method.label] = None
    more = f" and {len(named) - NAMES} more" if len(named) > NAMES else ""
    return f"{', '.join(list(named)[:NAMES])}{more}"


def size(value: str) -> tuple[float, str]:
    """Returns a key by which values sort: numbers by size, before texts.

    Args:
        value: a setting's value as text.
    """
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value
