"""The order in which a stream's tasks are learned."""

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.streams.base import Plan, Stream


def choose(names: Sequence[str], orders: Mapping[str, tuple[str, ...]], order: str) -> tuple[str, ...]:
    """Returns the names of the tasks to learn, in learning order. An order may leave tasks out.

    Args:
        names: the names of all tasks.
        orders: task names for each named order.
        order: `default` (the first named order), a named order, `random:SEED`, or task names separated by commas.

    Raises:
        UserError: an order or task is unknown (the message offers the nearest), a task occurs twice, or the seed is no
            number.
    """
    named = {"default": next(iter(orders.values())), **orders}
    kind, _, seed = order.partition(":")
    if order in named:
        chosen = list(named[order])
    elif kind == "random":
        if not (seed.isascii() and seed.isdecimal() and len(seed) < 20):
            raise UserError(
                f'--order {order:.40}: expected a seed of at most 19 digits, as in random:1, got "{seed:.40}"'
            )
        chosen = [names[i] for i in np.random.default_rng(int(seed)).permutation(len(names))]
    else:
        chosen = [name.strip() for name in order.split(",")]
    for name in chosen:
        if name in named and name not in names:
            raise UserError(f'--order {order}: "{name}" is a whole order and cannot stand in a list of tasks')
        if name not in names:
            near = registry.nearest(name, [*names, *named])
            if any("," in each for each in names):
                near += " (a task with a comma in its name can't stand in a list; give it another in stream.yaml)"
            raise UserError(
                f'--order: no task or order "{name}"{near}; orders: {", ".join(named)}; tasks: {", ".join(names)}'
            )
    if len(set(chosen)) < len(chosen):
        raise UserError(f"--order {order}: a task is named twice")
    return tuple(chosen)


def arrange(plan: Plan, order: str) -> Stream:
    """Opens the tasks of a stream in the given order, and returns them; tasks that the order leaves out are not opened.

    Args:
        plan: the stream, of which nothing has been read yet.
        order: `default`, the name of another order of the plan, `random:SEED`, or task names separated by commas.

    Raises:
        UserError: the order names an unknown task or order, or a task twice; or data are missing on disk.
    """
    chosen = choose(plan.names, plan.orders, order)
    return Stream(plan.open(chosen), plan.orders, plan.protocol, plan.identity)


def whole(plan: Plan) -> Stream:
    """Opens all tasks of a stream in the default order, and returns them.

    Args:
        plan: the stream, of which nothing has been read yet.

    Raises:
        UserError: data are missing on disk.
    """
    return arrange(plan, "default")
