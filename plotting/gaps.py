"""Methods of which a figure has nothing to draw, and why: in its legend, in its caption and on the terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.comparison.groups import Group, Method
from benchmarks.config.errors import UserError
from benchmarks.runs.read import Run


@dataclass(frozen=True, eq=False)
class Gap:
    """A method that a figure lacks, or of which it lacks some runs.

    Attributes:
        method: the method.
        why: the reason, in a few words for the legend, such as `no spectrum.csv`.
        whole: whether the figure shows nothing of the method.
    """

    method: Method
    why: str
    whole: bool = True


def of_runs(group: Group, why: Callable[[Run], str]) -> list[Gap]:
    """Returns the methods of which some or all runs cannot be drawn; of the latter the figure shows nothing.

    Args:
        group: the runs.
        why: returns the reason why a run cannot be drawn, in a few words; empty if it can.
    """
    found = []
    for method in group.methods:
        reasons = [reason for run in method.runs if (reason := why(run))]
        if reasons:
            whole, first = len(reasons) == len(method.runs), reasons[0]
            found.append(Gap(method, first if whole else f"{len(reasons)} of {len(method.runs)} runs: {first}", whole))
    return found


def labels(group: Group, gaps: Sequence[Gap]) -> list[str]:
    """Returns the label of each method for a figure's legend, with the reason behind it where something is not drawn:
    `LoRA (no spectrum.csv)`.

    Args:
        group: the runs.
        gaps: what is not drawn of them.
    """
    reasons = {gap.method: f" ({gap.why})" for gap in gaps}
    return [f"{method.label}{reasons.get(method, '')}" for method in group.methods]


def drawn(group: Group, gaps: Sequence[Gap] = ()) -> tuple[str, ...]:
    """Returns the labels of the methods of which a figure shows something.

    Args:
        group: the runs.
        gaps: what is not drawn of them.
    """
    lost = {gap.method for gap in gaps if gap.whole}
    return tuple(method.label for method in group.methods if method not in lost)


def sentence(gaps: Sequence[Gap]) -> str:
    """Returns a line that names every method that is not drawn or not in full, by reason; empty if there is none.

    An example is `not drawn (no spectrum.csv): LoRA, ZSCL`.

    Args:
        gaps: what is not drawn.
    """
    by_reason: dict[str, list[str]] = {}
    for gap in gaps:
        by_reason.setdefault(gap.why, []).append(gap.method.label)
    return "; ".join(f"not drawn ({why}): {', '.join(names)}" for why, names in by_reason.items())


def is_empty(group: Group, gaps: Sequence[Gap]) -> bool:
    """Returns whether a figure would show nothing of any method.

    Args:
        group: the runs.
        gaps: what is not drawn of them.
    """
    return sum(gap.whole for gap in gaps) == len(group.methods)


def check(group: Group, gaps: Sequence[Gap]) -> None:
    """Raises UserError if a figure would show nothing of any method.

    Args:
        group: the runs.
        gaps: what is not drawn of them.
    """
    if is_empty(group, gaps):
        raise UserError(f"nothing to draw; {sentence(gaps)}")
