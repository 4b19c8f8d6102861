"""What runs of the micro CLIP gave when it was written down: `tests/data/golden.json`, a line for each of `RUNS`.

It holds the sha256 of each table, the means of each table's columns after each task, and what they were made with.
A change that is meant to move figures writes them anew: `uv run python -m tests.golden`, and says so in CHANGELOG.md.
"""

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd


DATA = Path(__file__).parent / "data" / "golden.json"
TABLES = ("accuracy.csv", "accuracy_agnostic.csv", "accuracy_seen.csv", "rank.csv", "spectrum.csv")
THREE = ("--order", "arrows,clocks,colours")
# With settings of their own, so that a recipe's change does not change them.
RUNS: dict[str, tuple[str, ...]] = {
    "nusa-two-tasks": ("--strategy", "nusa", "--lr", "1e-2", "--order", "arrows,clocks"),
    "nusa": ("--strategy", "nusa", "--lr", "1e-2"),
    "lora": ("--strategy", "lora", "--lr", "3e-3", *THREE),
    "zscl": ("--strategy", "zscl", "--lr", "1e-3", "--distillation", "1", *THREE),
    "moe_adapter": ("--strategy", "moe_adapter", "--lr", "1e-2", "--decision", "image", *THREE),
    "inflora": ("--strategy", "inflora", "--lr", "1e-2", *THREE),
    "icarl": ("--strategy", "icarl", "--lr", "3e-4", "--distillation", "1", *THREE),
}


def words(name: str, results: Path) -> list[str]:
    """The command line of a run of `RUNS`."""
    return [*RUNS[name], "--seed", "42", "--device", "cpu", "--results", str(results)]


def run_folder(results: Path) -> Path:
    """The only run folder below a folder."""
    (config,) = results.rglob("config.yaml")
    return config.parent


def sums(run: Path) -> dict[str, str]:
    """The sha256 of each table of a run folder."""
    return {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in TABLES}


def means(run: Path) -> dict[str, dict[str, list[float | None]]]:
    """For each table and column the means after each task, of each tower where a table tells them apart.

    None stands for a cell that is empty in the table. The means of an accuracy matrix are its cells.
    """
    found = {}
    for name in TABLES:
        table = pd.read_csv(run / name)
        keys = [key for key in ("after", "tower") if key in table]
        values = table.groupby(keys, sort=False).mean(numeric_only=True).drop(columns="block", errors="ignore")
        found[name] = {
            column: [None if pd.isna(value) else float(f"{value:.7g}") for value in values[column]] for column in values
        }
    return found


def made_with() -> dict[str, Any]:
    """Versions, kind of processor and threads: where they are the same, figures are the same to the last bit."""
    import torch

    from benchmarks.runtime.hardware import describe

    about = describe("cpu")
    versions = {name: version for name, version in about["versions"].items() if name not in ("nusa-bench", "python")}
    return {
        "versions": versions,
        "processor": about["hardware"]["processor"],
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": about["hardware"]["threads"],
    }


def read(name: str) -> dict[str, Any]:
    return json.loads(DATA.read_text(encoding="utf-8"))[name]


def written_down(name: str, run: Path) -> dict[str, Any]:
    """What a finished run of `RUNS` gave."""
    return {"command": " ".join(RUNS[name]), "made_with": made_with(), "sha256": sums(run), "means": means(run)}


def main() -> None:
    """Runs all of them, one after the other, on one thread."""
    os.environ["OMP_NUM_THREADS"] = "1"
    from benchmarks.run import main as run

    lines = []
    for name in RUNS:
        with tempfile.TemporaryDirectory() as results:
            if status := run(words(name, Path(results))):
                sys.exit(status)
            found = written_down(name, run_folder(Path(results)))
            lines.append(f"{json.dumps(name)}: {json.dumps(found)}")
    DATA.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
