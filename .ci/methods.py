"""Prints the methods as their files describe them: a Markdown table, or with `--names` the names for a shell."""

import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.config import registry


def table() -> str:
    """A row for each method: command-line name, name in tables, what it does, paper."""
    rows = [("`--strategy`", "method", "what it does", "reference"), ("---",) * 4]
    for strategy in registry.names("strategy"):
        about = registry.about(strategy)
        summary = registry.summary("strategy", strategy).removesuffix(".")
        rows.append((f"`{strategy}`", about.name, summary.removeprefix(f"{about.name}: "), about.reference))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    print(" ".join(registry.names("strategy")) if "--names" in sys.argv else table())
