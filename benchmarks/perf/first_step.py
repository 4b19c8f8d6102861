"""A run that ends after its first training step: `python -m benchmarks.perf.first_step RESULTS DEVICE`, to time the
start.

Until then it imports, loads data, evaluates once and decomposes the weights.
"""

import os
import sys

from benchmarks import api as nb


class EndAtFirstStep(nb.Callback):
    """Ends the process with status 0 after the first training step."""

    def on_step_end(self, run: nb.RunState) -> None:
        """Ends the process with status 0 at once, without any clean-up."""
        os._exit(0)


if __name__ == "__main__":
    nb.run("nusa", results=sys.argv[1], device=sys.argv[2], callbacks=[EndAtFirstStep()])
    sys.exit(1)
