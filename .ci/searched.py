"""Prints what the search of the settings of `micro` found, as the tables of results/reference/README.md."""

import csv
from pathlib import Path


SEARCH = Path(__file__).resolve().parent.parent / "results" / "reference" / "search"
NO_SETTINGS = ("stream", "strategy", "lr", "tried", "runs", "learning", "average", "chosen_by")
MARKS = {"average": "**", "learning": "*"}
Row = dict[str, str]


def rows() -> list[Row]:
    """The rows of all searches."""
    found = []
    for file in sorted(SEARCH.glob("search-*.csv")):
        with file.open(encoding="utf-8", newline="") as text:
            found += list(csv.DictReader(text))
    return found


def label(row: Row) -> str:
    strengths = [f"{name}={value}" for name, value in row.items() if name not in NO_SETTINGS and value]
    return " ".join([f"`{row['strategy']}`", *strengths])


def cell(row: Row) -> str:
    marks = [mark for rule, mark in MARKS.items() if rule in row["chosen_by"].split()]
    mark = "".join(marks)
    return f"{mark}{float(row['learning']):.1f} / {float(row['average']):.1f}{mark[::-1]}" if row["average"] else "–"


def main() -> None:
    by_strategy: dict[str, list[Row]] = {}
    for row in rows():
        by_strategy.setdefault(row["strategy"], []).append(row)
    groups: dict[tuple[str, ...], list[Row]] = {}
    for each in by_strategy.values():
        rates = tuple(sorted({row["lr"] for row in each}, key=lambda rate: float(rate or 0)))
        groups.setdefault(rates, []).extend(each)
    for rates, each in groups.items():
        heads = [rate or "without a rate" for rate in rates]
        print(f"| method | {' | '.join(heads)} |\n| --- |{' ---: |' * len(rates)}")
        lines: dict[str, dict[str, str]] = {}
        for row in each:
            lines.setdefault(label(row), {})[row["lr"]] = cell(row)
        for name, cells in lines.items():
            print(f"| {name} | {' | '.join(cells.get(rate, '') for rate in rates)} |")
        print()


if __name__ == "__main__":
    main()
