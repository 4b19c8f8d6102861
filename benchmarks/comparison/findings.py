"""What the runs of a group show, in three sentences: who leads, how zero-shot's accuracy is kept, and at what cost."""

import numpy as np

from benchmarks.comparison import metric_columns
from benchmarks.comparison.costs import BY_KEY, Point, pareto, points
from benchmarks.comparison.frontier import corner
from benchmarks.comparison.groups import Group, Method
from benchmarks.comparison.statistics import Interval, interval, paired
from benchmarks.comparison.tables import shown, unsigned
from benchmarks.runs.read import MATRICES
from strategies.about import OURS


NOTE = (
    "Intervals: 95 % confidence, Student's t over n runs; of two methods, over n pairs of runs with the same seed and order. "
    "They do not allow for the choice of the best among many methods."
)


def findings(group: Group) -> list[str]:
    """Returns up to three sentences about a group of runs, each of which says only what the runs show.

    They are about Avg of the leading method against the second; Transfer against zero-shot's; and the effective rank and the
    Pareto front of Avg against training time, or if the runs come from different machines, against trained parameters. The
    last two are about this project's method if it is there, else about the leading one. A difference whose interval
    holds 0 is said to be within the spread of the runs. A sentence that nothing is known for is left out.

    Args:
        group: the runs.
    """
    cost = BY_KEY["training_seconds" if len(metric_columns.machines(group.runs)) == 1 else "trained_parameters"]
    ranked = [point for point in points(group, cost) if point.method.is_ranked]
    ranked.sort(key=lambda point: -point.accuracy.mean)
    found = [_lead(group, ranked)]
    if subject := next((point for point in ranked if point.method.strategy in OURS), next(iter(ranked), None)):
        found += [_transfer(group, subject.method), _expense(group, subject, ranked, cost.key)]
    return [sentence for sentence in found if sentence]


def _lead(group: Group, ranked: list[Point]) -> str:
    how = MATRICES[group.identity][1]
    if not ranked:
        return "No method is ranked: none learned task after task in every order."
    best, *others = ranked
    orders = f", over {len(group.orders)} orders" if len(group.orders) > 1 else ""
    value = f"an Avg of {shown(best.accuracy).text} % ({how}{orders})"
    avg = metric_columns.metric(group.identity, "avg").of
    if others:
        gap = paired(best.method, others[0].method, avg)
        return f"{best.method.label} leads with {value}{_against(gap, f'{others[0].method.label}, the second')}."
    only = f"{best.method.label}, the only ranked method, has {value}"
    zero_shot = next((method for method in group.methods if method.runs[0].learns_nothing), None)
    return f"{only}{_against(paired(best.method, zero_shot, avg), zero_shot.label) if zero_shot else ''}."


def _transfer(group: Group, method: Method) -> str:
    identity = group.accuracy_identity
    transfer = metric_columns.metric(identity, "transfer").of
    kept = [transfer(run) for run in method.runs]
    known = [value for value in kept if value is not None]
    if not known or len(known) < len(kept):
        return ""
    start = f"{method.label} has a Transfer of {np.mean(known):.1f} % ({MATRICES[identity][1]})"
    lost = interval(
        [value - corner(run, identity)[1] for value, run in zip(known, method.runs, strict=True)]
    )  # of the same run before any training
    return f"{start}{_against(lost, 'the model before any training (zero-shot)')}." if lost else f"{start}."


def _expense(group: Group, subject: Point, ranked: list[Point], key: str) -> str:
    cost, label = BY_KEY[key], subject.method.label

    def said(point: Point) -> str:
        return f"{cost.show(point.cost.mean)} for {unsigned(point.accuracy.mean)} %"

    parts = []
    if rank := _ranks(subject.method):
        parts.append(f"the effective rank goes from {rank[0]:.1f} to {rank[1]:.1f} directions under {label}")
        ends = [end for point in ranked if point is not subject and (end := _ranks(point.method))]
        if ends:
            low, high = min(end[1] for end in ends), max(end[1] for end in ends)
            parts[0] += f", and ends between {low:.1f} and {high:.1f} under the other ranked methods"
    if len(ranked) == 1:
        parts.append(f"the {cost.heading} is {cost.show(subject.cost.mean)}")
    else:
        best = pareto(ranked)
        front = f"the Pareto front of Avg against {cost.heading} is"
        names = ", ".join(f"{point.method.label} ({said(point)})" for point in best)
        parts.append(f"{front} {names}{'' if subject in best else f', and {label} is not on it ({said(subject)})'}")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def _ranks(method: Method) -> tuple[float, float] | None:
    """Returns the mean entropy rank before and after the stream; None if not measured in every run."""
    found = [run.entropy_rank for run in method.runs]
    known = [each for each in found if each is not None]
    if len(known) < len(found):
        return None
    before, after = np.mean(known, axis=0)
    return float(before), float(after)


def _against(found: Interval | None, other: str) -> str:
    """Returns the end of a sentence about a difference to something else, and how sure it is."""
    if found is None:
        return f"; nothing is known of a difference to {other}, since no run has its seed and order"
    side = f"{unsigned(abs(found.mean))} points {'above' if found.mean >= 0 else 'below'} {other}"
    if found.half_width is None:
        return f", {side}, in a single run, so that nothing is known of its spread"
    low, high = abs(found.mean) - found.half_width, abs(found.mean) + found.half_width
    sure = "" if low > 0 else ", which is within the spread of the runs"
    return f", {side} (interval {unsigned(low)} to {unsigned(high)}, n = {found.count}){sure}"
