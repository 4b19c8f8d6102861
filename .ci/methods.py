"""Prints the methods as their files describe them: a Markdown table; `--short` of their names; `--names` for a shell."""

import re
import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.config import registry


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
    columns = 2 if "--short" in sys.argv else 4
    print("\n".join(f"| {' | '.join(row[:columns])} |" for row in rows()))


if __name__ == "__main__":
    main()
