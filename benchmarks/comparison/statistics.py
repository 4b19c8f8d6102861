"""Mean and standard deviation over runs, and paired differences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # which imports its parts when they are used

from benchmarks.comparison.groups import Method
from benchmarks.runs.read import Run


CONFIDENCE = 0.95
Measure = Callable[[Run], float | None]


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a metric over several runs, in the metric's unit.

    Attributes:
        mean: the mean.
        deviation: the sample standard deviation; None for a single value.
        count: the number of values: of runs, or where each value is an order's mean, of orders.
    """

    mean: float
    deviation: float | None
    count: int


def spread(values: Sequence[float | None]) -> Spread | None:
    """Returns the mean, the sample standard deviation and the number of some values; None if there are none, or one is
    undefined.

    Args:
        values: the values of a metric, one for each run; None where it is undefined.
    """
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    deviation = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return Spread(float(np.mean(known)), deviation, len(known))


def over_seeds(method: Method, tasks: tuple[str, ...], measure: Measure) -> Spread | None:
    """Returns a metric's mean and standard deviation over a method's runs in one order.

    The result is None if there are no runs, or the metric of one is undefined.

    Args:
        method: the method.
        tasks: the order: the names of all tasks in the order of learning.
        measure: returns the metric of a run; None where it is undefined.
    """
    return spread([measure(run) for run in method.in_order(tasks)])


def over_orders(method: Method, orders: Sequence[tuple[str, ...]], measure: Measure) -> Spread | None:
    """Returns a metric's mean and standard deviation over orders, each represented by its mean over seeds.

    The result is None unless the method ran in all orders and the metric is defined in all runs. For a single order it
    is over seeds instead.

    Args:
        method: the method.
        orders: the orders; each has the names of all tasks in the order of learning.
        measure: returns the metric of a run; None where it is undefined.
    """
    if len(orders) == 1:
        return over_seeds(method, orders[0], measure)
    means = [over_seeds(method, tasks, measure) for tasks in orders]
    return spread([mean.mean if mean else None for mean in means])


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval, in the metric's unit: of the differences between a method and the baseline over
    pairs of runs with the same seed and order, or of values over such runs.

    Attributes:
        mean: the mean; of differences, the method's value minus the baseline's.
        half_width: half the width of the 95 % confidence interval of the mean, by Student's t; None for a single value.
        count: the number of values, or of pairs.
    """

    mean: float
    half_width: float | None
    count: int


def interval(values: Sequence[float | None]) -> Interval | None:
    """Returns the mean of some values, and half the width of its 95 % confidence interval by Student's t.

    The result is None if there are none, or one is undefined.

    Args:
        values: one for each run, or pair of runs; None or NaN where it is undefined.
    """
    found = spread([None if value is None or np.isnan(value) else value for value in values])
    if found is None:
        return None
    if found.deviation is None:
        return Interval(found.mean, None, found.count)
    quantile = float(scipy.special.stdtrit(found.count - 1, (1 + CONFIDENCE) / 2))
    return Interval(found.mean, quantile * found.deviation / found.count**0.5, found.count)


def paired(method: Method, baseline: Method, measure: Measure) -> Interval | None:
    """Returns the difference between a method's metric and the baseline's, over pairs of runs with the same seed and
    order: its mean, and half the width of the 95 % confidence interval.

    The result is None if there are no pairs, or a value is undefined.

    Args:
        method: the method, whose values count positive.
        baseline: the method that it is compared with.
        measure: returns the metric of a run; None where it is undefined.
    """
    others = {run.sample: measure(run) for run in baseline.runs}
    pairs = [(measure(run), others[run.sample]) for run in method.runs if run.sample in others]
    return interval([None if a is None or b is None else a - b for a, b in pairs])
