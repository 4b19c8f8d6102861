"""Prints a table of docs/methods/nusa-self.md: NuSA-Self and others on micro CLIPs of other pretraining seeds, order I."""

import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.comparison.collection import Runs
from benchmarks.comparison.formats import markdown
from benchmarks.experiment.reading import load_runs
from benchmarks.studies import values


PLACE = Path(__file__).resolve().parent.parent / "results" / "reference" / "clips"
METHODS = ("nusa_self", "lwf", "wise_ft", "lora", "nusa", "zeroshot")


def main() -> None:
    runs = sorted(load_runs(PLACE), key=lambda run: (run.config["model"], METHODS.index(run.config["strategy"])))
    print(markdown.whole(values.by_setting("order I, task known", Runs(runs), ("model", "strategy"), values.metrics())))


if __name__ == "__main__":
    main()
