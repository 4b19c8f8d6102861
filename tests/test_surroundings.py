"""The real commands where environment variables, folders or the user are not as a developer has them."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import COMMANDS
from benchmarks.config.errors import UserError
from benchmarks.runtime import files
from plotting.found import commands
from tests.conftest import ROOT
from tests.run_folders import write_run


MODULES = sorted({module for module, _ in COMMANDS.values()} | {f"plotting.{name}" for name in commands()})


def python(
    *words: object, env: Mapping[str, str | None] = {}, cwd: Path = ROOT, before: Sequence[str] = (), **options: Any
) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own; None takes a variable out of its environment."""
    known = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 300, **options}
    given["env"] = {name: value for name, value in known.items() if value is not None}
    return subprocess.run([*before, sys.executable, *map(str, words)], cwd=cwd, check=False, **given)


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


RUN = ROOT / "results" / "reference" / "micro" / "nusa" / "seed42"
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


# What another program, a cluster or a careless profile leaves behind; none of it is meant for a run.
LEFT = {
    "CUDA_VISIBLE_DEVICES": "nonsense", "OMP_NUM_THREADS": "abc", "MKL_NUM_THREADS": "-1", "PYTHONHASHSEED": "7",
    "RANK": "3", "LOCAL_RANK": "x", "MASTER_ADDR": "nowhere", "SLURM_PROCID": "3", "SLURM_NTASKS": "8", "PMI_RANK": "1",
    "OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4", "MPLBACKEND": "nonsense", "PYTHONWARNINGS": "error",
    "LC_ALL": "xx_YY.nope", "PYTHONIOENCODING": "ascii", "COLUMNS": "0", "TERM": "dumb", "NO_COLOR": "1",
    "HOME": None, "USER": None, "LOGNAME": None, "PATH": "/nowhere", "TMPDIR": "/nowhere", "XDG_CACHE_HOME": "relative",
}  # fmt: skip


def brief(images: Path, tiny_clip: Path, results: Path) -> list[object]:
    """A run of seconds on the tiny model."""
    fixed = ["--stream", f"folder:{images}", "--model", f"local-dir:{tiny_clip}", "--results", results]
    return [*fixed, "--iterations", 2, "--batch-size", 4, "--rank", 4]


@pytest.fixture(scope="module")
def plain(images: Path, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A run's figures where nothing is odd."""
    results = tmp_path_factory.mktemp("plain")
    done = python("-m", "benchmarks.run", *brief(images, tiny_clip, results))
    assert done.returncode == 0, done.stderr
    return figures(results)


def figures(results: Path) -> dict[str, bytes]:
    (config,) = results.rglob("config.yaml")
    files = [config.parent / name for name in ("accuracy.csv", "rank.csv", "metrics.json")]
    return {file.name: file.read_bytes() for file in (*files, *sorted((config.parent / "plots").iterdir()))}


@pytest.mark.parametrize("odd", [LEFT, pytest.param({"PYTHONOPTIMIZE": "2"}, marks=pytest.mark.slow)])
def test_a_run_is_the_same_whatever_the_environment_was_left_with(
    odd: dict[str, str | None], plain: dict[str, bytes], images: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    words = brief(images, tiny_clip, Path("results"))
    done = python("-m", "benchmarks.run", *words, env=odd, cwd=tmp_path, preexec_fn=lambda: os.close(0))
    assert done.returncode == 0, done.stderr
    assert figures(tmp_path / "results") == plain
    assert "cats" in done.stdout and "3/3 cats: mean accuracy" in done.stderr
    assert not (tmp_path / "relative" / "nusa-bench").exists()  # the standard says that such a folder does not count


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "XDG_CACHE_HOME", "NUSA_BENCH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    assert files.user_cache() is None


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("setpriv") is None, reason="only root can be somebody else")
@pytest.mark.parametrize("home", [None, "/nowhere"])
def test_a_user_whom_the_system_does_not_know_can_run(home: str | None, images: Path, tiny_clip: Path) -> None:
    may_read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]  # all of this machine's files
    somebody = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups", *may_read]
    left = {"HOME": home, "USER": None, "LOGNAME": None, "NUSA_BENCH_CACHE": None, "XDG_CACHE_HOME": None}
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders let nobody else in
        Path(place).chmod(0o777)
        words = ["-m", "benchmarks.run", *brief(images, tiny_clip, Path(place) / "results"), "--no-plots"]
        done = python(*words, env=left, cwd=Path(place), before=somebody)
    assert done.returncode == 0, done.stderr
    assert "no place for a cache of decoded images; name one with --cache" in done.stderr


@pytest.mark.parametrize("place", ["/dev/null", "/dev/null/below"])
def test_a_variable_that_names_no_place_for_the_cache_is_named(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUSA_BENCH_CACHE", place)
    with pytest.raises(UserError, match=f"NUSA_BENCH_CACHE={place}: cannot be written"):
        files.user_cache()


@pytest.mark.parametrize(
    "words", [("benchmarks.run",), ("benchmarks.prepare", "--stream", "micro", "--check", "--cache", "c")]
)
def test_a_working_folder_that_is_gone_is_said(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    done = python("-m", *words, cwd=tmp_path / "gone", before=["sh", "-c", 'rmdir ../gone; exec "$@"', "sh"])
    assert_one_line(done, "the working folder is gone")


def test_where_no_relative_path_is_needed_the_working_folder_may_be_gone(tmp_path: Path) -> None:
    write_run(tmp_path / "run", np.array([[10.0, 20.0], [61.5, 30.0], [50.0, 72.5]]), ["one", "two"])
    (tmp_path / "gone").mkdir()
    gone = ["sh", "-c", 'rmdir ../gone; exec "$@"', "sh"]
    done = python("-m", "benchmarks.compare", tmp_path, cwd=tmp_path / "gone", before=gone)
    assert done.returncode == 0 and "61.2" in done.stdout, done.stderr


@pytest.mark.parametrize("unbuffered", [None, "1"])
@pytest.mark.parametrize("words", [("benchmarks",), ("benchmarks.run", "--list"), ("benchmarks.compare", RUN)])
def test_output_for_which_there_is_no_space_is_one_line(words: tuple[object, ...], unbuffered: str | None) -> None:
    with open("/dev/full", "w") as full:
        done = python("-m", *words, env={"PYTHONUNBUFFERED": unbuffered}, stdout=full)
    assert_one_line(done, "No space left on device")


def test_windows_is_told_what_it_runs_on() -> None:
    assert_one_line(python("-c", "import sys; sys.platform = 'win32'; import benchmarks"), "Linux and macOS", "WSL")
