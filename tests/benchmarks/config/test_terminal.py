"""What commands print: errors in a line with status 2, no control characters, any encoding."""

import importlib
import io
import sys

import click
import pytest
from click.testing import CliRunner

from benchmarks.config.errors import UserError
from benchmarks.config.terminal import Command, plain, say


@click.command(cls=Command)
@click.option("-n", type=int, required=True)
def command(n: int) -> None:
    if n == 1:
        raise UserError("wrong,\nin \x1b[2J two lines")
    if n == 2:
        raise FileNotFoundError(2, "No such file", "x")
    if n == 3:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["-n", "0"], 0, ""),
        (["-n", "1"], 2, "error: wrong, in \\x1b[2J two lines\n"),
        (["-n", "2"], 2, "error: x: No such file\n"),
        (["-n", "3"], 130, "\ninterrupted\n"),
        ([], 2, "error: Missing option '-n'.\n"),
        (["--nn", "1"], 2, "error: No such option '--nn'.\n"),
        (["-n", "x"], 2, "error: Invalid value for '-n': 'x' is not a valid integer.\n"),
        (["-n", "1", "more"], 2, "error: Got unexpected extra argument (more)\n"),
    ],
)
def test_an_error_is_one_line_and_status_two(words: list[str], status: int, said: str) -> None:
    done = CliRunner().invoke(command, words)
    assert (done.exit_code, done.stderr) == (status, said)


@pytest.mark.parametrize(
    "module",
    [
        "benchmarks.compare", "benchmarks.prepare", "benchmarks.perf.__main__", "benchmarks.pretrain.__main__",
        "benchmarks.runs.pack", "plotting.__main__", "plotting.rank", "plotting.matrix", "plotting.report", "plotting.curves",
    ],
)  # fmt: skip
def test_every_command_says_a_wrong_option_in_a_line(module: str) -> None:
    done = CliRunner().invoke(importlib.import_module(module).main, ["--nonsense"])
    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: No such option '--nonsense'")


def test_what_would_control_a_terminal_is_written_out() -> None:
    assert plain("a\x1b]0;t\x07\x9b\u202eb\tc\nü") == "a\\x1b]0;t\\x07\\x9b\\u202eb\tc\nü"
    assert plain("raw\udcff") == "raw\\udcff"


def test_a_stderr_that_is_closed_full_or_missing_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    closed = io.StringIO()
    closed.close()
    for stderr in (None, closed, Full()):
        monkeypatch.setattr(sys, "stderr", stderr)
        say("a line")
