"""What a sweep says of itself where there is no terminal, and on one: what is done, and how long the rest takes."""

import io

import pytest
from rich.console import Console

from benchmarks.sweep import view as views
from benchmarks.sweep.cells import cells
from benchmarks.sweep.door import shared_by_all
from benchmarks.sweep.grid import Block
from benchmarks.sweep.outcomes import Outcome, Progress
from benchmarks.sweep.states import Standing
from benchmarks.sweep.view import Times, View, shown


@pytest.fixture
def found(tmp_path):
    """Six runs of two methods, of three tasks each."""
    grid = Block({"strategy": ["nusa", "lora"], "seed": ["1", "2", "3"], "order": [["shapes", "clocks", "scans"]]})
    return cells([grid], shared_by_all(tmp_path))


def begun(found, known, monkeypatch, **console):
    monkeypatch.setattr(views, "EVERY", -1.0)  # an estimate for each line
    text = io.StringIO()
    made = View(found, known)
    made.console = Console(file=text, width=120, highlight=False, **console)
    return made, text


def test_the_time_left_counts_all_at_once_and_what_is_known(found, monkeypatch):
    nusa, lora = found[:3], found[3:]
    known = [
        (nusa[0], Standing("finished", (10.0, 20.0, 30.0))),
        *((cell, Standing("to do")) for cell in [*nusa[1:], *lora]),
    ]
    view, text = begun([*nusa[1:], *lora], known, monkeypatch)
    for cell in nusa[1:]:
        view.began(cell, "here")
    view.show({nusa[2].name: Progress(1, 3, 75, 150)})
    view.finished(nusa[1], (20.0, 20.0, 20.0))
    # 60 s a run; of the second one half; three have not begun; two at once
    assert text.getvalue() == f"1/5 {nusa[1].name}: finished, 0 s, about {shown((30 + 3 * 60) / 2)} left\n"
    view.failed(nusa[2], Outcome("failed", "no memory"))
    assert text.getvalue().splitlines()[-1].startswith(f"2/5 {nusa[2].name}: failed: no memory, 0 s, about 3 min left")
    view.waits(lora[0], "")
    view.waits(lora[0], "its worker was lost")
    assert text.getvalue().splitlines()[2:] == [f"{lora[0].name}: its worker was lost"]


def test_a_row_for_each_run_that_goes_on(found, monkeypatch):
    view, _ = begun(found, [], monkeypatch)
    for cell in found[:2]:
        view.began(cell, "there")
    assert view._row(found[0].name, None) == f"  starting: {found[0].name} on there"
    assert view._row(found[0].name, Progress(0, 0)) == f"  starting: {found[0].name} on there"  # it decodes images
    assert (
        view._row(found[1].name, Progress(1, 3, 10, 150)) == f"  1 of 3 tasks, step 10 of 150: {found[1].name} on there"
    )


def test_times_are_those_of_the_same_method_if_there_are_any(found):
    nusa, lora = found[0], found[3]
    times = Times()
    assert times.left(nusa, None) is None
    times.note(nusa, (10.0, 20.0))
    assert times.left(nusa, None) == 45.0 and times.left(lora, Progress(1, 3)) == 30.0
    times.note(lora, (2.0,))
    assert times.left(lora, Progress(1, 3)) == 4.0 and times.left(nusa, Progress(0, 0)) == 45.0


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5940, "99 min"), (6100, "1 h 42 min")]
)
def test_times_in_words(seconds, words):
    assert shown(seconds) == words
