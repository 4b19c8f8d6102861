"""Locks between processes: who waits learns for whom, and a dead process holds nothing."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.runtime import locks
from benchmarks.runtime.locks import HOLDER, locked
from tests.conftest import ROOT


# Holds the lock of a folder, says so, and waits for a line.
HOLDING = """
import sys
from pathlib import Path
from benchmarks.runtime.locks import locked
with locked(Path(sys.argv[1]), print):
    print("held", flush=True)
    sys.stdin.readline()
"""


def holding(folder: Path) -> subprocess.Popen[str]:
    """A process that holds the lock of a folder until it reads a line."""
    started = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(folder)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert started.stdout and started.stdout.readline() == "held\n"
    return started


@pytest.mark.parametrize("host", [None, "node3"])
def test_who_waits_is_told_once_for_whom_and_goes_on_when_that_is_done(host: str | None, tmp_path: Path) -> None:
    other, told = holding(tmp_path), []
    if host:  # as over a shared disk
        (tmp_path / HOLDER).write_text(f"{other.pid}\n{host}\n")

    def done(who: str, since: str) -> None:
        told.append((who, since[:2]))
        other.communicate("\n")

    with locked(tmp_path, done):
        assert told == [(f"process {other.pid}{f' on {host}' if host else ''}", "20")]
        assert (tmp_path / HOLDER).read_text() == f"{os.getpid()}\n{socket.gethostname()}\n"
    assert not (tmp_path / HOLDER).exists()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    other = holding(tmp_path)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert (tmp_path / HOLDER).exists()
    with locked(tmp_path, lambda who, since: pytest.fail(f"waits for {who}")):
        pass


@pytest.mark.parametrize("text", [None, "", "17", "17\nnode\nmore", "\xff\n"])
def test_a_holder_whose_file_says_nothing_is_another_process(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SOON", 0)
    told: list[str] = []
    with locked(tmp_path, lambda who, since: None):
        (tmp_path / HOLDER).unlink()
        if text is not None:
            (tmp_path / HOLDER).write_bytes(text.encode("latin-1"))

        def refuse(who: str, since: str) -> None:
            told.append(f"{who} since {since}")
            raise InterruptedError

        with pytest.raises(InterruptedError), locked(tmp_path, refuse):
            pass
    assert told == ["another process since an unknown time"]
