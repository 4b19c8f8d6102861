"""The memory of a process is its own."""

import subprocess
import sys

import pytest

from benchmarks.runtime import memory
from benchmarks.runtime.memory import STATUS
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


@pytest.mark.skipif(not (STATUS.is_file() and "VmHWM" in STATUS.read_text(errors="replace")), reason="no VmHWM here")
def test_the_peak_of_a_process_is_not_that_of_the_one_that_started_it() -> None:
    large = bytearray(1500 * MIB)
    large[::4096] = bytes(len(large[::4096]))
    done = subprocess.run([sys.executable, "-c", OWN], cwd=ROOT, capture_output=True, text=True, check=True)
    assert memory.peak_host_bytes() > 1500 * MIB
    before, resident, during, after = map(int, done.stdout.split())
    assert resident <= during < 1200 * MIB
    assert during >= before + 150 * MIB
    assert after > during - MIB  # Linux counts in batches
