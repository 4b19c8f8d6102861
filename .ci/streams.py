"""Prints the streams as their files describe them: a Markdown table."""

import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.config import registry


def main() -> None:
    print("| `--stream` | tasks |\n| --- | --- |")
    for name, source in registry.sources("stream").items():
        print(f"| `{name}` | {source.summary.removesuffix('.')} |")


if __name__ == "__main__":
    main()
