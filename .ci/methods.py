"""Prints the methods as their files describe them, a Markdown table; `--short`: the few in README; `--names`: for a shell."""

import re
import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.config import registry


SHORT = ("nusa", "nusa_self", "lora", "zscl", "moe_adapter", "zeroshot")


def rows() -> list[tuple[str, ...]]:
    """Command-line name, name in tables, what it does, paper; a header first."""
    found: list[tuple[str, ...]] = [("`--strategy`", "method", "what it does", "reference"), ("---",) * 4]
    for name, source in registry.sources("strategy").items():
        about = registry.about(name)
        summary = source.summary.removesuffix(".").removeprefix(f"{about.name}: ")
        reference = re.sub(r"arXiv (\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", about.reference)
        found.append((f"`{name}`", about.name, summary, reference))
    return found


def main() -> None:
    if "--names" in sys.argv:
        print(*registry.sources("strategy"))
        return
    head, rule, *shown = rows()
    columns = 4
    if "--short" in sys.argv:
        shown, columns = [row for row in shown if row[0].strip("`") in SHORT], 2
    print("\n".join(f"| {' | '.join(row[:columns])} |" for row in (head, rule, *shown)))


if __name__ == "__main__":
    main()
