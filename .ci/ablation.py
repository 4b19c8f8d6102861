"""Prints the ablation of NuSA-Self, a Markdown table, from the runs in results/reference/ablation."""

import sys
from collections import defaultdict
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.comparison.metric_columns import learning_accuracy
from benchmarks.comparison.statistics import interval, spread
from benchmarks.runs.folder import find
from benchmarks.runs.read import Run, read


PLACE = Path(__file__).resolve().parent.parent / "results" / "reference" / "ablation"
METRICS = ("transfer", "avg", "last")
Settings = tuple[tuple[str, str], ...]


def values(run: Run) -> list[float]:
    """Transfer, Avg, Last and the accuracy right after learning, in percent."""
    return [*(run.metrics["known"][name] for name in METRICS), learning_accuracy(run, "known") or 0.0]


def main() -> None:
    runs = [read(folder) for folder in find([PLACE]).folders]
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for run in runs:
        for name, value in run.config.items():
            counts[name][str(value)] += 1
    common = {name: max(found, key=lambda value: found[value]) for name, found in counts.items()}
    by_change: dict[Settings, dict[int, list[float]]] = defaultdict(dict)
    for run in runs:
        change = tuple(
            (name, str(value)) for name, value in run.config.items() if name != "seed" and str(value) != common[name]
        )
        by_change[change][run.config["seed"]] = values(run)
    base = by_change[()]
    print(
        "| changed | Transfer | Avg | Last | learning accuracy | Avg, difference |\n| --- | ---: | ---: | ---: | ---: | ---: |"
    )
    for change, found in sorted(by_change.items(), key=lambda each: (bool(each[0]), -_mean(each[1], 1))):
        cells = [spread([each[column] for each in found.values()]) for column in range(len(METRICS) + 1)]
        shown = [f"{cell.mean:.1f} ± {cell.deviation or 0:.1f}" for cell in cells if cell]
        gap = interval([each[1] - base[seed][1] for seed, each in found.items() if seed in base])
        apart = (
            f"{gap.mean:+.1f} \\[{gap.mean - gap.half_width:+.1f}, {gap.mean + gap.half_width:+.1f}\\]"
            if change and gap and gap.half_width
            else ""
        )
        name = " ".join(f"`--{key.replace('_', '-')} {_text(value)}`" for key, value in change) or "nothing"
        print(f"| {name} | {' | '.join(shown)} | {apart} |")


def _mean(found: dict[int, list[float]], column: int) -> float:
    return sum(each[column] for each in found.values()) / len(found)


def _text(value: str) -> str:
    return ",".join(part.strip(" '\"") for part in value.strip("[]()").split(","))


if __name__ == "__main__":
    main()
