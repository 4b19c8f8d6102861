"""Rewrites `constraint-dependencies` in pyproject.toml to the newest versions that its ranges allow."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path


PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
LIST = re.compile(r"constraint-dependencies = \[\n.*?\n\]\n", re.DOTALL)


def main() -> None:
    text = PROJECT.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pyproject.toml").write_text(LIST.sub("", text), encoding="utf-8")
        for needed in ("README.md", "benchmarks/__init__.py"):  # of which the project's metadata are made
            Path(folder, needed).parent.mkdir(exist_ok=True)
            shutil.copy(PROJECT.parent / needed, Path(folder, needed))
        subprocess.run(["uv", "lock", "--quiet"], cwd=folder, check=True)
        export = [
            "uv",
            "export",
            "--quiet",
            "--no-hashes",
            "--no-annotate",
            "--no-header",
            "--no-emit-project",
            "--all-extras",
        ]
        listed = subprocess.run(export, cwd=folder, check=True, capture_output=True, text=True).stdout
    # With their markers, since a package may have another version for a newer Python; without an index's local parts (+cu132).
    pins = sorted(re.sub(r"\+[\w.]+", "", line).replace('"', "'") for line in listed.splitlines() if "==" in line)
    lines = "".join(f'  "{pin}",\n' for pin in pins)
    PROJECT.write_text(LIST.sub(f"constraint-dependencies = [\n{lines}]\n", text), encoding="utf-8")


if __name__ == "__main__":
    main()
