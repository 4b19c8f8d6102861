"""Prints the ablation of docs/methods/nusa-self.md: the recipe's settings, and the difference when one of them is changed."""

import sys
from collections import Counter
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.comparison.formats import markdown
from benchmarks.comparison.statistics import interval
from benchmarks.comparison.tables import Cell, Table, bracketed, signed, unsigned
from benchmarks.experiment.reading import load_runs
from benchmarks.studies import values


PLACE = Path(__file__).resolve().parent.parent / "results" / "reference" / "ablation"
AXES = ("distillation", "temperature", "images", "texts", "towers", "space", "alpha")
NOTE = (
    "First row: mean over three seeds. Others: difference to it, in points, mean over pairs of runs of the same seed, with its "
    "95 % confidence interval in brackets (Student's t)."
)


def main() -> None:
    runs, columns = load_runs(PLACE), values.metrics()[:4]
    recipe = runs.filter(**{axis: Counter(run.config[axis] for run in runs).most_common(1)[0][0] for axis in AXES})
    beside = {run.config["seed"]: run for run in recipe}
    rows = [(Cell("recipe"), *(bracketed(values.mean(recipe, column.of), unsigned) for column in columns))]
    for axis in AXES:
        for (value,), changed in runs.group(axis).items():
            if value != recipe[0].config[axis]:
                pairs = [(run, beside[run.config["seed"]]) for run in changed]
                found = (interval([column.of(run) - column.of(other) for run, other in pairs]) for column in columns)
                rows.append((Cell(f"{axis} {value}"), *(bracketed(each, signed) for each in found)))
    print(markdown.whole(Table("ablation", ("changed", *(column.heading for column in columns)), rows, [NOTE])))


if __name__ == "__main__":
    main()
