"""A run that ends with its first training step: `python -m benchmarks.perf.first_step RESULTS DEVICE`, to time the start.

Imports, data, the first evaluation and the decompositions have happened by then.
"""

import os
import sys

from benchmarks import api as nb


class EndAtFirstStep(nb.Callback):
    """Ends the process at once, successfully."""

    def on_step_end(self, run: nb.RunState) -> None:
        os._exit(0)


if __name__ == "__main__":
    nb.run("nusa", results=sys.argv[1], device=sys.argv[2], callbacks=[EndAtFirstStep()])
    sys.exit(1)
