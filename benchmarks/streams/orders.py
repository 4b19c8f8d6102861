"""The order in which a stream's tasks are learned."""

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.streams.base import Plan, Stream


def choose(names: Sequence[str], orders: Mapping[str, tuple[str, ...]], order: str) -> tuple[str, ...]:
    """The names of the tasks asked for, in the order asked for; tasks that a list leaves out are left out.

    Args:
        names: all tasks.
        orders: task names for each named order.
        order: `default` (the first of the named orders), a named order, `random:SEED`, or task names with commas.

    Raises:
        UserError: unknown order or task (the nearest is offered), a task named twice, a seed that is no number.
    """
    named = {"default": next(iter(orders.values())), **orders}
    kind, _, seed = order.partition(":")
    if order in named:
        chosen = list(named[order])
    elif kind == "random":
        if not seed.isdecimal():
            raise UserError(f'--order {order}: expected a seed, as in random:1, got "{seed}"')
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
    """The stream in the order asked for (see `choose`). Only the chosen tasks are opened, once the choice is known to be right.

    Raises:
        UserError: a wrong order, before anything is read; then whatever opening the tasks finds.
    """
    chosen = choose(plan.names, plan.orders, order)
    return Stream(plan.open(chosen), plan.orders, plan.protocol, plan.identity)


def whole(plan: Plan) -> Stream:
    """The stream of all tasks in the default order. Raises UserError for what is missing on disk."""
    return arrange(plan, "default")
