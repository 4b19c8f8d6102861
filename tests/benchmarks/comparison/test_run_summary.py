"""What is printed of a finished run."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.comparison.run_summary import show
from tests.run_folders import write_run


@pytest.mark.parametrize("terminal", ["0", "1"])
def test_the_matrix_is_shown_where_the_environment_says_that_there_is_no_width(
    terminal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    monkeypatch.setenv("TTY_INTERACTIVE", terminal)
    monkeypatch.setenv("TTY_COMPATIBLE", terminal)
    states = np.array([[10.0, 20.0], [61.5, 30.0], [50.0, 72.5]])
    show(write_run(tmp_path / "run", states, ["one", "two"]))
    shown = capsys.readouterr().out
    assert "zero-shot" in shown and "61.5" in shown and "72.5" in shown
