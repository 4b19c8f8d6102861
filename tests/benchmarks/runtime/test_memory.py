"""The memory of a process is its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.runtime import memory
from benchmarks.runtime.memory import CLEAR, STATUS
from tests.conftest import ROOT


MIB = 2**20
OWN = f"""
from benchmarks.runtime.memory import peak_host_bytes, resident_bytes
before = peak_host_bytes()
taken = bytearray({200 * MIB})
taken[::4096] = bytes(len(taken[::4096]))
during = resident_bytes(), peak_host_bytes()
del taken
print(before, *during, peak_host_bytes())
"""
AFTER_ANOTHER = f"""
import sys
from benchmarks import api as nb
from benchmarks.runtime.memory import peak_host_bytes
taken = bytearray({2500 * MIB})
taken[::4096] = bytes(len(taken[::4096]))
del taken
before = peak_host_bytes()
run = nb.run("zeroshot", order="arrows,clocks", results=sys.argv[1], plots=False, silent=True)
print(before, run.cost["peak_memory_bytes"])
"""
on_linux = pytest.mark.skipif(
    not (STATUS.is_file() and "VmHWM" in STATUS.read_text(errors="replace")), reason="no VmHWM here"
)


@on_linux
def test_the_peak_of_a_process_is_not_that_of_the_one_that_started_it() -> None:
    large = bytearray(1500 * MIB)
    large[::4096] = bytes(len(large[::4096]))
    done = subprocess.run([sys.executable, "-c", OWN], cwd=ROOT, capture_output=True, text=True, check=True)
    assert memory.peak_host_bytes() > 1500 * MIB
    before, resident, during, after = map(int, done.stdout.split())
    assert resident <= during < 1200 * MIB
    assert during >= before + 150 * MIB
    assert after > during - MIB  # Linux counts in batches


@on_linux
@pytest.mark.skipif(not os.access(CLEAR, os.W_OK), reason="the peak cannot be set back here")
def test_the_peak_of_a_run_is_not_that_of_what_its_process_did_before(tmp_path: Path) -> None:
    words = [sys.executable, "-c", AFTER_ANOTHER, str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    before, of_the_run = map(int, done.stdout.split())
    assert before > 2500 * MIB
    assert 200 * MIB < of_the_run < 2000 * MIB
