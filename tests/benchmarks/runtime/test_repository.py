"""The recorded commit is this project's, or none: never that of a repository around it, or in the environment."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.runtime.repository import commit


NONE = {"commit": None, "uncommitted_changes": None}
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def packages(folder: Path, name: str = "nusa-bench") -> Path:
    """What lies at the top of a clone."""
    (folder / "benchmarks").mkdir(parents=True)
    (folder / "benchmarks" / "__init__.py").write_text("")
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n')
    return folder


def committed(folder: Path, *left_out: str) -> str:
    """Makes a repository of a folder; returns its commit."""
    folder.mkdir(exist_ok=True)
    (folder / "more.txt").write_bytes(os.fsencode(folder.name))
    git(folder, "init", "-q")
    git(folder, "add", ".", *(f":!{each}" for each in left_out))
    git(folder, "commit", "-q", "-m", "all")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a hook of git's, which runs the tests before a commit."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("name", ["clone", "a clone", os.fsdecode(b"cl\xffone"), "clone\n"])
def test_the_commit_of_a_clone_and_whether_it_was_changed(name: str, tmp_path: Path) -> None:
    clone = packages(tmp_path / name)
    head = committed(clone)
    assert commit(clone) == {"commit": head, "uncommitted_changes": False}
    (clone / "new.txt").write_text("")
    assert commit(clone) == {"commit": head, "uncommitted_changes": True}


def test_a_clone_within_another_repository_and_in_a_worktree(tmp_path: Path) -> None:
    committed(tmp_path / "outer")
    clone = packages(tmp_path / "outer" / "clone")
    head = committed(clone)
    assert commit(clone)["commit"] == head
    git(clone, "worktree", "add", "-q", str(tmp_path / "tree"))
    assert commit(tmp_path / "tree") == {"commit": head, "uncommitted_changes": False}


@pytest.mark.parametrize(
    "variables", [("GIT_DIR",), ("GIT_DIR", "GIT_WORK_TREE"), ("GIT_INDEX_FILE",), ("GIT_COMMON_DIR",)]
)
def test_the_environments_repository_is_not_this_one(
    variables: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone, other, plain = packages(tmp_path / "clone"), packages(tmp_path / "other"), packages(tmp_path / "plain")
    head = committed(clone)
    committed(other)
    places = {"GIT_WORK_TREE": other, "GIT_INDEX_FILE": other / ".git" / "index"}
    for name in variables:
        monkeypatch.setenv(name, str(places.get(name, other / ".git")))
    assert commit(clone) == {"commit": head, "uncommitted_changes": False}
    assert commit(plain) == NONE


def test_somebody_elses_repository_around_or_at_the_packages_is_none(tmp_path: Path) -> None:
    unpacked = packages(tmp_path / "outer" / "unpacked")  # without a repository of its own
    committed(tmp_path / "outer")
    assert commit(unpacked) == NONE
    for text in ("gitdir: /nowhere\n", "nonsense", ""):
        (unpacked / ".git").write_text(text)
        assert commit(unpacked) == NONE
    (unpacked / ".git").unlink()
    (unpacked / ".git").mkdir()
    assert commit(unpacked) == NONE
    installed = packages(tmp_path / "site-packages")  # a wheel brings no pyproject.toml
    (installed / "pyproject.toml").unlink()
    committed(installed)
    assert commit(installed) == NONE
    theirs = packages(tmp_path / "theirs", name="their-own")  # pip install --target .
    committed(theirs)
    assert commit(theirs) == NONE
    untracked = packages(tmp_path / "untracked")
    committed(untracked, "benchmarks")
    assert commit(untracked) == NONE


def test_no_commit_no_git_and_a_git_that_fails_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = packages(tmp_path / "clone")
    git(clone, "init", "-q")
    git(clone, "add", ".")
    assert commit(clone) == NONE
    committed(clone)
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))
    assert commit(clone) == NONE
    (place / "git").write_text("#!/bin/sh\nexit 1\n")
    (place / "git").chmod(0o755)
    assert commit(clone) == NONE


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_a_clone_that_git_refuses_since_it_is_somebody_elses_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # whose settings may trust all folders
    clone = packages(tmp_path / "clone")
    committed(clone)
    for place in (clone, clone / ".git"):
        os.chown(place, 54321, 54321)
    assert commit(clone) == NONE
