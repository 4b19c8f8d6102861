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


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """The command ended as for wrong input, with these words in its one line."""
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize("module", MODULES)
def test_a_commands_help_needs_no_docstrings_and_no_assertions(module: str) -> None:
    done = python("-OO", "-m", module, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: ") and "--help" in done.stdout and not done.stderr


RUN = ROOT / "results" / "reference" / "micro" / "nusa" / "seed42.zip"
ODD = "backend: nonsense\nfont.size: 40\nsvg.fonttype: none\ntext.usetex: True\npath.sketch: 1, 100, 2\nno colon\n"


@pytest.fixture(scope="module")
def rank(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The figure `rank` of a run, drawn in this environment."""
    file = tmp_path_factory.mktemp("rank") / "rank.svg"
    assert python("-m", "plotting.rank", RUN, "-o", file).returncode == 0
    return file.read_bytes()


@pytest.mark.parametrize(
    ("env", "matplotlibrc"),
    [
        ({"MPLBACKEND": "nonsense"}, None),
        ({"MPLBACKEND": "module://a_notebook_was_here"}, None),
        ({"MPLBACKEND": "TkAgg", "DISPLAY": None}, None),
        ({"MPLCONFIGDIR": "/dev/null", "HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null"}, None),
        ({}, ODD),
    ],
)
def test_figures_are_the_same_whatever_matplotlib_is_told(
    env: dict[str, str | None], matplotlibrc: str | None, rank: bytes, tmp_path: Path
) -> None:
    if matplotlibrc:
        (tmp_path / "matplotlibrc").write_text(matplotlibrc)
    done = python("-m", "plotting.rank", RUN, "-o", "rank.svg", env=env, cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert (tmp_path / "rank.svg").read_bytes() == rank


@pytest.mark.parametrize("words", [("plotting.rank", RUN, "-o", "rank.svg"), ("benchmarks.run",)])
def test_a_matplotlibrc_that_is_no_text_is_said_in_a_line(words: tuple[object, ...], tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe\x00")
    done = python("-m", *words, cwd=tmp_path)
    done.stderr = done.stderr.removeprefix("loading torch, open_clip and Avalanche ...\n")
    assert_one_line(done, "matplotlib cannot be imported (UnicodeDecodeError", "mend its matplotlibrc")


def test_the_users_own_backend_stays_theirs() -> None:
    code = """
import os
from benchmarks.runtime.environment import import_matplotlib
import_matplotlib()
import matplotlib
print(matplotlib.get_backend(), os.environ["MPLBACKEND"])
"""
    assert python("-c", code, env={"MPLBACKEND": "svg"}).stdout == "svg svg\n"
