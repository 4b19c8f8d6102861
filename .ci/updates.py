"""Prints the table of docs/findings/rivals.md: how large methods' updates are, and where they lie, beside their accuracies."""

import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.comparison.formats import markdown
from benchmarks.experiment.reading import load_runs
from benchmarks.studies import values
from benchmarks.studies.values import Column


PLACE = Path(__file__).resolve().parent.parent / "results" / "reference" / "micro"
METHODS = [
    "zscl", "lwf", "wise_ft", "finetune", "lora", "codyra", "nusa_self", "keeplora", "oplora", "nusa",
]  # fmt: skip
SEEDS = [42, 43, 44]  # which all have


def main() -> None:
    runs = load_runs(PLACE).filter(strategy=METHODS, order="default", seed=SEEDS)
    columns = [
        *values.metrics()[:2],
        Column("update norm", values.of_rank("update_norm"), "{:.2f}".format),
        Column("interference, left", values.of_rank("interference_left"), "{:.2f}".format),
        Column("interference, right", values.of_rank("interference_right"), "{:.2f}".format),
    ]
    table = values.by_setting("updates, order I, seeds 42 to 44", runs, ("strategy",), columns)
    table.rows.sort(key=lambda row: row[3].value or 0)
    print(markdown.whole(table))


if __name__ == "__main__":
    main()
