"""`nusa-bench COMMAND`: how its commands name themselves, and what is said of a name that is none."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT


SCRIPT = ("-c", "import sys; sys.argv[0] = '/some/where/nusa-bench'; from benchmarks.__main__ import main; main()")


def called(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        ([*SCRIPT], "usage: nusa-bench COMMAND ..."),
        ([*SCRIPT, "run", "--help"], "Usage: nusa-bench run [OPTIONS]"),
        ([*SCRIPT, "compare", "--help"], "Usage: nusa-bench compare [OPTIONS] [RESULTS...]"),
        ([*SCRIPT, "plot", "--help"], "Usage: nusa-bench plot [OPTIONS] RUN_FOLDER..."),
        ([*SCRIPT, "plot", "curves", "--help"], "Usage: nusa-bench plot curves [OPTIONS] [RESULTS...]"),
        (["-m", "benchmarks", "run", "--help"], "Usage: python -m benchmarks run [OPTIONS]"),
        (["-m", "benchmarks.run", "--help"], "Usage: python -m benchmarks.run [OPTIONS]"),
        (["-m", "plotting", "rank", "--help"], "Usage: python -m plotting rank [OPTIONS] [RESULTS...]"),
        (["-m", "plotting.rank", "--help"], "Usage: python -m plotting.rank [OPTIONS] [RESULTS...]"),
    ],
)
def test_a_usage_line_names_the_command_as_it_was_called(words: list[str], usage: str) -> None:
    done = called(*words)
    assert done.returncode == 0 and done.stdout.startswith(usage), done


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*SCRIPT, "plot", "rnak", "-o", "x.png"], 'rnak: neither a figure nor a run folder (did you mean "rank"?)'),
        (["-m", "plotting", "specturm"], 'specturm: neither a figure nor a run folder (did you mean "spectrum"?)'),
        ([*SCRIPT, "plot", "nothing-alike"], "nothing-alike: no such folder; name a run folder"),
        ([*SCRIPT, "plot", "rank", "-o"], "Option '-o' requires an argument."),
        ([*SCRIPT, "compare", "-o"], "Option '-o' requires an argument."),
        ([*SCRIPT, "run", "--seed"], "Option '--seed' requires an argument."),
        ([*SCRIPT, "comapre"], 'no command "comapre"; there are run, sweep, evaluate, compare, '),
    ],
)
def test_a_wrong_word_is_answered_in_a_line(words: list[str], said: str) -> None:
    done = called(*words)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {said}")
