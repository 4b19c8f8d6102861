"""Prints a table of docs/methods/nusa-self.md: NuSA-Self and others on micro CLIPs of other pretraining seeds, order I."""

import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.comparison.formats import markdown
from benchmarks.experiment.reading import load_runs
from benchmarks.studies import values


PLACE = Path(__file__).resolve().parent.parent / "results" / "reference" / "clips"


def main() -> None:
    print(markdown.whole(values.by_setting("order I, task known", load_runs(PLACE), ("model", "strategy"), values.metrics())))


if __name__ == "__main__":
    main()
