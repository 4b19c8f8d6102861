"""Puts the output of commands into README.md, between `<!-- uv run COMMAND -->` and `<!-- end -->`; `--check` only compares."""

import re
import shlex
import subprocess
import sys
from pathlib import Path


README = Path(__file__).resolve().parent.parent / "README.md"
BLOCK = re.compile(r"(<!-- uv run python (.*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def renew(match: re.Match[str]) -> str:
    command = [sys.executable, *shlex.split(match[2])]
    done = subprocess.run(command, cwd=README.parent, check=True, capture_output=True, encoding="utf-8")
    return f"{match[1]}\n{done.stdout}\n{match[3]}"


def main() -> None:
    text = README.read_text(encoding="utf-8")
    renewed, count = BLOCK.subn(renew, text)
    if "--check" in sys.argv:
        sys.exit(
            0 if renewed == text and count else "README.md: its tables are not what the commands print; make readme"
        )
    README.write_text(renewed, encoding="utf-8")


if __name__ == "__main__":
    main()
