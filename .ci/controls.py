"""Prints a table of docs/methods/nusa-self.md: NuSA-Self at other rates, weights, spaces and texts, order I."""

import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.comparison.collection import Runs
from benchmarks.comparison.formats import markdown
from benchmarks.experiment.reading import load_runs
from benchmarks.studies import values


PLACE = Path(__file__).resolve().parent.parent / "results" / "reference"
SETTINGS = ("space", "texts", "distillation", "lr")
SEEDS = [42, 43, 44]


def main() -> None:
    found = [run for name in ("micro", "frontier", "controls") for run in load_runs(PLACE / name)]
    runs = Runs(found).filter(strategy="nusa_self", order="default", seed=SEEDS)
    complete = [run for each in runs.group(*SETTINGS).values() if len(each) == len(SEEDS) for run in each]
    ordered = sorted(complete, key=lambda run: [run.config[name] for name in SETTINGS])
    print(markdown.whole(values.by_setting("order I, task known", Runs(ordered), SETTINGS, values.metrics())))


if __name__ == "__main__":
    main()
