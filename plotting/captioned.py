"""A figure with its caption and alternative text, for the report."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.comparison.groups import Group
from benchmarks.runs.read import Run


@dataclass(frozen=True)
class Captioned:
    """A figure for the report, with its texts.

    Attributes:
        figure: the figure.
        caption: a line below it.
        alt: what it shows, in words, for readers who cannot see it.
    """

    figure: Figure
    caption: str
    alt: str


def with_spread(group: Group) -> str:
    """Returns the end of a caption: `, with a standard deviation over runs to each side`; empty if every method has a single
    run.

    Args:
        group: the methods with their runs.
    """
    return (
        ", with a standard deviation over runs to each side"
        if any(len(method.runs) > 1 for method in group.methods)
        else ""
    )


def each(group: Group, of: Callable[[Run], Any]) -> str:
    """Returns a value of each method as text, with one decimal: `NuSA-CL 42.0 and 50.8; LoRA 39.9 and 38.6`.

    It is the mean over those of the method's runs for which it is defined, or `none` if there are no such runs.

    Args:
        group: the methods with their runs.
        of: returns a number or a tuple of numbers of a run; None where it is undefined.
    """
    words = []
    for method in group.methods:
        values = [value for value in map(of, method.runs) if value is not None]
        mean = np.atleast_1d(np.mean(values, axis=0)).tolist() if values else []
        words.append(f"{method.label} {' and '.join(f'{value:.1f}' for value in mean) or 'none'}")
    return "; ".join(words)
