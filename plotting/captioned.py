"""A figure's caption, as it could stand in a paper: in the file beside the figure, and in the report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.comparison.groups import Group, without_folders
from benchmarks.runs.read import Run
from plotting.gaps import Gap, sentence


PARTIAL = (
    "Where a finished run went on with more tasks, its earlier states that were not kept are not tested on these: there it "
    "has no values."
)
UNFINISHED = "Of a run that is not finished the later rows are blank."


@dataclass(frozen=True)
class Captioned:
    """A figure for the report, with its texts.

    Attributes:
        figure: the figure.
        caption: a paragraph below it.
        alt: what it shows, in words, for readers who cannot see it.
        methods: the labels of the methods that it shows; empty if it shows all of the group.
    """

    figure: Figure
    caption: str
    alt: str
    methods: tuple[str, ...] = ()


def caption(group: Group, shown: str, gaps: Sequence[Gap] = ()) -> str:
    """Returns the whole caption of a figure as one paragraph: what it shows, of which runs, and what it lacks.

    Of a path only the last name is written.

    Args:
        group: the runs that the figure is about.
        shown: one or more sentences that say what is drawn, and what bands or error bars are.
        gaps: what is not drawn of the runs.
    """
    lost = sentence(gaps)
    parts = [shown, runs(group), *([f"{lost[:1].upper()}{lost[1:]}."] if lost else [])]
    return without_folders(" ".join(parts))


def blanks(runs: Sequence[Run]) -> str:
    """Returns the sentences that say why some accuracies of runs are not known; empty if all are.

    Args:
        runs: the runs.
    """
    partial = any(run.is_finished and run.is_partial for run in runs)
    unfinished = not all(run.is_finished for run in runs)
    return " ".join([PARTIAL] * partial + [UNFINISHED] * unfinished)


def runs(group: Group) -> str:
    """Returns the sentence about the runs that a figure is about: stream, tasks, model, orders, number of runs and seeds.

    An example is `Stream micro, 11 tasks, model micro, all training images, order I; 2 methods with 3 runs each, seeds
    42 to 44.`

    Args:
        group: the runs.
    """
    counts = sorted({len(method.runs) for method in group.methods})
    each = f"{counts[0]} to {counts[-1]} runs" if len(counts) > 1 else _count(counts[0], "run")
    methods = f"{len(group.methods)} methods with {each} each" if len(group.methods) > 1 else f"one method with {each}"
    orders = f"order{'s' * (len(group.orders) > 1)} {'; '.join(group.orders.values())}"
    title = f"{group.title[:1].upper()}{group.title[1:]}"
    return f"{title}, {orders}; {methods}, {_seeds(sorted({run.config['seed'] for run in group.runs}))}."


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} {'to' if len(seeds) > 2 else 'and'} {seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}"


def _count(number: int, what: str) -> str:
    return f"{'one' if number == 1 else number} {what}{'s' * (number != 1)}"


def spread(group: Group, what: str) -> str:
    """Returns the sentence that says what shows the spread over runs: `Bands: one standard deviation over runs to each
    side.`

    If every method has a single run, it says that no spread is known.

    Args:
        group: the runs.
        what: what is drawn, such as `Bands`.
    """
    if any(len(method.runs) > 1 for method in group.methods):
        return f"{what}: one standard deviation over runs to each side."
    return "Of a single run no spread is known."


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
