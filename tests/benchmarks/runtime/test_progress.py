"""The lines that a run prints on stderr."""

import pytest

from benchmarks.runtime.progress import ProgressBar


@pytest.mark.parametrize("columns", ["0", "1", "40", "abc"])
def test_a_long_line_is_one_line_whatever_the_environment_says_of_the_width(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    line = "rank 10000 is cut to 128 in 24 of 24 matrices " * 8
    with ProgressBar() as bar:
        bar.say(line)
    assert capsys.readouterr().err.splitlines()[0] == line
