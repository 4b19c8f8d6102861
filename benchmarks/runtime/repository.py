"""The commit of this project's code, where it runs from its git repository."""

import os
import subprocess
import tomllib
from functools import cache
from pathlib import Path

from benchmarks.config.registry import ROOT


def commit(root: Path = ROOT) -> dict[str, str | bool | None]:
    """Returns the `commit` (the hash) of this project's code, and whether there are `uncommitted_changes`.

    Both are None if the code does not run from its own git repository: the commit of another one that lies around it,
    or that the environment names (GIT_DIR), is never returned. They are None, too, where git is missing or refuses.

    Args:
        root: the folder of the packages; in its repository it is the top.
    """
    found = _git(root, "rev-parse", "HEAD") if _is_own(root) else None
    changes = _git(root, "status", "--porcelain") if found else None
    return {"commit": found, "uncommitted_changes": None if changes is None else bool(changes)}


@cache
def code_commit() -> dict[str, str | bool | None]:
    """Returns what `commit` says of this process's code, as it was when this was first asked: a process reads its code once."""
    return commit()


def _is_own(root: Path) -> bool:
    """Whether a folder is the top of this project's repository, and not of one that the packages were copied into."""
    try:
        name = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    except (OSError, ValueError, LookupError, TypeError):
        return False
    return (
        name == "nusa-bench"
        and _git(root, "rev-parse", "--show-toplevel") == str(root)
        and _git(root, "ls-files", "--error-unmatch", "benchmarks/__init__.py") is not None
    )


def _git(root: Path, *words: str) -> str | None:
    """Returns what git prints; None where it fails."""
    # Of hooks and other repositories: GIT_DIR, GIT_INDEX_FILE and others.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *words],
            cwd=root, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return os.fsdecode(done.stdout).removesuffix("\n")
