"""The order in which a stream's tasks are learned."""

from dataclasses import replace

import numpy as np

from benchmarks import registry
from benchmarks.errors import UserError
from benchmarks.streams import Stream


def reorder(stream: Stream, order: str) -> Stream:
    """The stream's tasks in the order asked for; tasks that a list leaves out are left out.

    Args:
        order: `default` (the stream's first named order), a named order, `random:SEED`, or task names with commas.

    Raises:
        UserError: unknown order or task (the nearest is offered), a task named twice, a seed that is no number.
    """
    tasks = {task.name: task for task in stream.tasks}
    named = {"default": next(iter(stream.orders.values())), **stream.orders}
    kind, _, seed = order.partition(":")
    if order in named:
        chosen = list(named[order])
    elif kind == "random":
        if not seed.isdecimal():
            raise UserError(f'--order {order}: expected a seed, as in random:1, got "{seed}"')
        chosen = [list(tasks)[i] for i in np.random.default_rng(int(seed)).permutation(len(tasks))]
    else:
        chosen = [name.strip() for name in order.split(",")]
    for name in chosen:
        if name in named and name not in tasks:
            raise UserError(f'--order {order}: "{name}" is a whole order and cannot stand in a list of tasks')
        if name not in tasks:
            near = registry.nearest(name, [*tasks, *named])
            raise UserError(
                f'--order: no task or order "{name}"{near}; orders: {", ".join(named)}; tasks: {", ".join(tasks)}'
            )
    if len(set(chosen)) < len(chosen):
        raise UserError(f"--order {order}: a task is named twice")
    return replace(stream, tasks=tuple(tasks[name] for name in chosen))
