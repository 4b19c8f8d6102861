"""A run that waits before its tasks: `python -m benchmarks.perf.one_by_one FREELY STREAM ITERATIONS DEVICE RESULTS`.

From task number FREELY on, it prints `waiting` before each task, continues when it reads a line, and ends at the end of
its input.
"""

import os
import sys

from benchmarks import api as nb
from benchmarks.experiment.measurements.base import Callback, RunState


class WhenTold(Callback):
    """Before every task from index `freely` on, prints `waiting` and waits for a line on stdin.

    Args:
        freely: number of tasks that are learned without waiting.
    """

    def __init__(self, freely: int) -> None:
        self.freely = freely

    def on_task_begin(self, run: RunState) -> None:
        """Prints `waiting` and reads a line, if the task's index is at least `freely`; ends the process at the end of stdin."""
        if run.task is not None and run.task >= self.freely:
            print("waiting", flush=True)
            if not sys.stdin.readline():
                os._exit(0)


if __name__ == "__main__":
    freely, stream, iterations, device, results = sys.argv[1:]
    try:
        nb.run(
            "nusa", stream, iterations=int(iterations), device=device, results=results, plots=False,
            callbacks=[WhenTold(int(freely))],
        )  # fmt: skip
    except nb.UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
