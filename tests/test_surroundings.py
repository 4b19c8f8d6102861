"""The real commands where environment variables, folders or the user are not as a developer has them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.__main__ import COMMANDS
from plotting.found import commands
from tests.conftest import ROOT


MODULES = sorted({module for module, _ in COMMANDS.values()} | {f"plotting.{name}" for name in commands()})


def python(
    *words: object, env: Mapping[str, str | None] = {}, cwd: Path = ROOT, **options: object
) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own; None takes a variable out of its environment."""
    known = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env={name: value for name, value in known.items() if value is not None},
        cwd=cwd, capture_output=True, text=True, timeout=300, check=False, **options,
    )  # type: ignore[call-overload, no-any-return]  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_a_commands_help_needs_no_docstrings_and_no_assertions(module: str) -> None:
    done = python("-OO", "-m", module, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: ") and "--help" in done.stdout and not done.stderr
