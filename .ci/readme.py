"""Puts the output of commands into the documents, between `<!-- uv run COMMAND -->` and `<!-- end -->`.

With `--check` it only compares, and exits with 1 where a document is not what the commands print. Documents that are named are
the only ones.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path


ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "results" / "README.md",
    ROOT / "results" / "reference" / "README.md",
    ROOT / "strategies" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"(<!-- uv run python (.*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def renew(match: re.Match[str]) -> str:
    command = [sys.executable, *shlex.split(match[2])]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, encoding="utf-8")
    return f"{match[1]}\n{done.stdout}\n{match[3]}"


def main() -> None:
    stale = []
    named = [Path(word).resolve() for word in sys.argv[1:] if word != "--check"]
    for document in named or DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        renewed = BLOCK.sub(renew, text)
        if renewed != text:
            stale.append(document.relative_to(ROOT).as_posix())
            if "--check" not in sys.argv:
                document.write_text(renewed, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(f"{', '.join(stale)}: the tables are not what the commands print; run make readme")


if __name__ == "__main__":
    main()
