"""The lines beside the progress bar."""

import pytest

from benchmarks.runtime.progress import ProgressBar


def test_a_long_line_is_one_line_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    line = "rank 10000 is cut to 128 in 24 of 24 matrices " * 8
    with ProgressBar() as bar:
        bar.say(line)
    assert capsys.readouterr().err.splitlines()[0] == line
