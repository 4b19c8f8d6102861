"""The whole trade-off of each method: what it keeps against what it learns, over its learning rates or any setting.

A method with several values of a setting is one line. Its points lie at learning accuracy and Transfer; those that no other
of its points beats in both are its front. What a method has at a given learning accuracy is read off its front, between two
points that were measured, never beyond.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from benchmarks.comparison.differing import size
from benchmarks.comparison.groups import Group, Method, settings, shown, telling
from benchmarks.comparison.metric_columns import metric
from benchmarks.comparison.statistics import Interval, Measure, interval
from benchmarks.config.errors import UserError
from benchmarks.config.registry import nearest
from benchmarks.runs.read import Run


ALONG = "lr"  # the settings over which a line goes, unless others are named
FULL = 100.0  # percent
ROUNDING = 0.5  # percent, by which zero-shot accuracies may differ between machines and numbers of threads
Sample = tuple[tuple[str, ...], int]  # the order and the seed of a run


@dataclass(frozen=True, eq=False)
class Point:
    """A method with one value of each setting that its line goes over.

    Attributes:
        values: the values as text; empty where the method has no such setting.
        runs: its runs, by order and seed.
    """

    values: tuple[str, ...]
    runs: Mapping[Sample, Run]


@dataclass(frozen=True, eq=False)
class Line:
    """A method with one or several values of some settings.

    Attributes:
        method: the method, with the runs of all values.
        points: the same for each value alone, in rising order of the values.
        identity: the accuracies that count, `known` (task-aware) or `unknown` (task-agnostic).
    """

    method: Method
    points: tuple[Point, ...]
    identity: str

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """The orders and seeds in which every point ran; values are compared within one of them."""
        return tuple(sorted(set.intersection(*(set(point.runs) for point in self.points))))

    @cached_property
    def why_not(self) -> str:
        """Why the method has nothing to show as a line, in a few words; empty if it has."""
        for key in ("right_after", "transfer"):
            found = metric(self.identity, key)
            if any(found.of(run) is None for run in self.method.runs):
                return f"no {found.heading}"
        if np.isnan(self.corners).any():
            return "no accuracy before training"
        if self.samples and np.ptp(self._corners, axis=0).max() > ROUNDING:
            return "its values have different zero-shot accuracies"
        return "" if self.samples else "no seed in which all its values ran"

    @cached_property
    def stays_below(self) -> bool:
        """Whether no point learns more than zero-shot, by means over samples, so that the area is 0."""
        return bool((self.learning.mean(axis=1) <= self.corners.mean(axis=0)[0] + ROUNDING).all())

    def values(self, measure: Measure) -> np.ndarray:
        """Returns a metric of each point in each order and seed, (points, samples); NaN where it is undefined.

        Args:
            measure: returns the metric of a run; None where it is undefined.
        """
        found = [[measure(point.runs[sample]) for sample in self.samples] for point in self.points]
        return np.array(found, dtype=float).reshape(len(self.points), len(self.samples))  # None becomes NaN

    @cached_property
    def learning(self) -> np.ndarray:
        """Learning accuracy in percent, (points, samples)."""
        return self.values(metric(self.identity, "right_after").of)

    @cached_property
    def transfer(self) -> np.ndarray:
        """Transfer in percent, (points, samples)."""
        return self.values(metric(self.identity, "transfer").of)

    @cached_property
    def front(self) -> list[int]:
        """The points that no other point of the line beats, in rising order of learning accuracy, by means over samples."""
        return front(self.learning.mean(axis=1), self.transfer.mean(axis=1))

    @property
    def reach(self) -> tuple[float, float]:
        """The least and the greatest learning accuracy on the front, in percent, means over samples."""
        means = self.learning.mean(axis=1)[self.front]
        return float(means[0]), float(means[-1])

    def at(self, accuracies: Sequence[float] | np.ndarray, measure: Measure) -> np.ndarray:
        """Returns a metric where the line has some learning accuracies, (accuracies, samples), by linear interpolation along
        its front.

        NaN in a sample whose front does not reach so far, to either side.

        Args:
            accuracies: learning accuracies in percent.
            measure: returns the metric of a run; None where it is undefined.
        """
        found = []
        parts = (values[self.front].T for values in (self.learning, self.transfer, self.values(measure)))
        for across, kept, up in zip(*parts, strict=True):
            order = np.lexsort((kept, across))
            order = order[np.append(np.diff(across[order]) > 0, [True])]  # of points that learn the same the best
            found.append(np.interp(accuracies, across[order], up[order], left=np.nan, right=np.nan))
        return np.stack(found, axis=1)

    @cached_property
    def corners(self) -> np.ndarray:
        """Learning accuracy and Transfer of zero-shot in each order and seed, (samples, 2), in percent, means over points;
        see `corner`.
        """
        return self._corners.mean(axis=0)

    @cached_property
    def _corners(self) -> np.ndarray:
        found = [corner(point.runs[sample], self.identity) for point in self.points for sample in self.samples]
        return np.array(found).reshape(len(self.points), len(self.samples), 2)  # (points, samples, 2)

    @cached_property
    def areas(self) -> np.ndarray:
        """The area of the line in each order and seed, (samples,), in percent; see `area`."""
        pairs = zip(self.learning.T, self.transfer.T, self.corners, strict=True)
        return np.array([area(across, up, *zero) for across, up, zero in pairs])


def names(text: str) -> tuple[str, ...]:
    """Returns the settings that an option names, with underscores.

    Args:
        text: as typed, such as `lr,l2`.

    Raises:
        UserError: a name is empty or stands twice.
    """
    found = [name.strip().replace("-", "_") for name in text.split(",")]
    if not all(found) or len(set(found)) < len(found):
        raise UserError(f"--along {text}: expected settings with commas between them, each once, as in lr,l2")
    return tuple(found)


def lines(group: Group, along: Sequence[str]) -> list[Line]:
    """Returns a group's methods as lines over some settings, in the order of the group, those with a reason why not too;
    methods that learn nothing, or start from another model than the pretrained one, are not among them.

    Args:
        group: the runs.
        along: names of settings.

    Raises:
        UserError: no method of the group has one of the settings, or several values of it.
    """
    piles: dict[tuple[str, ...], list[Method]] = {}
    learning = [
        method for method in group.methods if not (method.runs[0].learns_nothing or method.runs[0].is_second_stage)
    ]
    known = sorted({name for method in learning for name in settings(method.runs[0])})
    for name in along:
        if name not in known:
            raise UserError(f"--along {name}: no method of {group.title} has such a setting{nearest(name, known)}")
    for method in learning:
        own = [f"{name}={shown(value)}" for name, value in sorted(_fixed(method, along).items())]
        piles.setdefault((method.strategy, *own), []).append(method)
    for name in along:
        if not any(telling([{name: settings(each.runs[0]).get(name)} for each in pile]) for pile in piles.values()):
            raise UserError(f"--along {name}: no method of {group.title} has several values of it")
    return [
        _line(pile, _beside(pile, piles.values(), along), along, group.accuracy_identity) for pile in piles.values()
    ]


def are_alike(found: Sequence[Line]) -> bool:
    """Returns whether lines have the same orders and seeds, without which the best of them may owe it to those.

    Args:
        found: the lines.
    """
    return len({line.samples for line in found}) < 2


def front(across: np.ndarray, up: np.ndarray) -> list[int]:
    """Returns the indices of the points that no other beats in both coordinates, in rising order of the first.

    Of equal points the first counts.

    Args:
        across, up: the coordinates, (N,) each; more is better.
    """
    order = sorted(range(len(across)), key=lambda index: (-across[index], -up[index], index))
    kept: list[int] = []
    for index in order:
        if not kept or up[index] > up[kept[-1]]:
            kept.append(index)
    return kept[::-1]


def corner(run: Run, identity: str) -> tuple[float, float]:
    """Returns where zero-shot stands: the mean accuracy before any training over all tasks, which is its learning
    accuracy, and over all but the first, which is its Transfer; in percent.

    Args:
        run: a run; its accuracies before training count.
        identity: `known` (task-aware) or `unknown` (task-agnostic).
    """
    before = run.accuracy[identity][0]  # (T,)
    return float(before.mean()), float(before[1:].mean())


def area(across: np.ndarray, up: np.ndarray, learned: float, kept: float) -> float:
    """Returns the area that a line's points cover, in percent of a rectangle below and right of the zero-shot corner.

    The rectangle goes from zero-shot's learning accuracy L_0 to 100 %, and from 0 to zero-shot's Transfer T_0. A point
    covers what lies left of it and below it: the area is the integral from L_0 to 100 of max{T_i: L_i >= x} dx (0 where no
    point learns so much), over (100 - L_0) T_0. It is the hypervolume of Zitzler and Thiele (IEEE Transactions on
    Evolutionary Computation 3, 1999) with the reference point (L_0, 0). Nothing is interpolated. 0 is zero-shot itself, 100
    would be zero-shot's Transfer with every task learned perfectly, and more is possible where Transfer rises. NaN if the
    rectangle is empty.

    Args:
        across: learning accuracy of each point in percent, (N,).
        up: Transfer of each point in percent, (N,).
        learned, kept: L_0 and T_0.
    """
    covered, reached = 0.0, learned
    for index in front(across, up):
        covered += max(float(across[index]) - reached, 0.0) * float(up[index])
        reached = max(reached, float(across[index]))
    whole = (FULL - learned) * kept
    return FULL * covered / whole if whole else np.nan


def difference(line: Line, other: Line, here: np.ndarray, there: np.ndarray) -> Interval | None:
    """Returns the difference between two lines over the orders and seeds that both have, with its confidence interval.

    None if there are none, or a value is undefined in one of them.

    Args:
        line: the line whose values count positive.
        other: the line that it is compared with.
        here, there: the value of each in each of its orders and seeds, (samples,).
    """
    others = dict(zip(other.samples, there.tolist(), strict=True))
    pairs = zip(line.samples, here.tolist(), strict=True)
    return interval([value - others[sample] for sample, value in pairs if sample in others])


def _fixed(method: Method, along: Sequence[str]) -> dict[str, object]:
    return {name: value for name, value in settings(method.runs[0]).items() if name not in along}


def _beside(pile: list[Method], piles: Collection[list[Method]], along: Sequence[str]) -> str:
    """Returns the settings, apart from those of the line, in which a strategy's lines differ, as a label has them."""
    same = [_fixed(each[0], along) for each in piles if each[0].strategy == pile[0].strategy]
    own = _fixed(pile[0], along)
    return "".join(f" {name}={shown(own.get(name))}" for name in telling(same))


def _line(pile: list[Method], label: str, along: Sequence[str], identity: str) -> Line:
    def point(method: Method) -> Point:
        own = settings(method.runs[0])
        return Point(
            tuple(shown(own[name]) if name in own else "" for name in along), {run.sample: run for run in method.runs}
        )

    whole = replace(pile[0], telling=label, runs=tuple(run for method in pile for run in method.runs))
    points = sorted(map(point, pile), key=lambda point: [size(value) for value in point.values])
    return Line(whole, tuple(points), identity)
