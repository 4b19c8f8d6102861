"""Which run folders are found below a folder, and what is said of links, which are not followed."""

import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.compare import main as compare
from benchmarks.comparison.collection import load
from benchmarks.config.errors import UserError
from benchmarks.runs.folder import LEFT_OUT, RunFiles, find
from benchmarks.runs.pack import main as pack
from plotting.compare import main as figure
from plotting.matrix import main as matrix
from tests.run_folders import write_run


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results with one run of their own, and a link to a folder elsewhere with another."""
    states = np.full((3, 2), 50.0)
    write_run(tmp_path / "elsewhere" / "lora", states, ["one", "two"], "lora")
    write_run(tmp_path / "results" / "nusa", states, ["one", "two"])
    (tmp_path / "results" / "linked").symlink_to(tmp_path / "elsewhere")
    return tmp_path / "results"


def test_links_below_a_place_are_named_and_a_place_may_be_a_link(results: Path) -> None:
    link = results / "linked"
    found = find([results])
    assert (found.folders, found.unsearched) == ([results / "nusa"], [link])
    assert find([link]).folders == [link / "lora"] and not find([link]).remark
    both = find([results, link])
    assert both.folders == [results / "nusa", link / "lora"] and not both.remark


def test_every_command_that_looks_for_runs_says_so_once(results: Path) -> None:
    note = f"note: 1 linked or unreadable folder not searched for runs: {results / 'linked'}"
    out = str(results.parent / "x.png")
    for command, words in ((compare, []), (figure, ["-o", out]), (matrix, ["-o", out]), (pack, [])):
        done = CliRunner().invoke(command, [str(results), *words])
        assert done.exit_code == 0 and done.stderr.count(note) == 1, done.stderr
    assert [line for line in load([results]).left_out if note.removeprefix("note: ") in line]


def test_a_run_folder_that_is_a_link_and_links_that_lead_nowhere_or_round(results: Path) -> None:
    (results / "linked").unlink()
    (results / "run").symlink_to(results.parent / "elsewhere" / "lora")
    (results / "gone").symlink_to(results.parent / "unmounted")
    (results / "round").symlink_to(results / "round")
    (results / "latest").symlink_to(results / "nusa")  # which is found without the link
    (results / "up").symlink_to(results)
    assert find([results]).unsearched == [results / name for name in ("gone", "run")]
    (results / "more").symlink_to(results.parent / "elsewhere")
    (results / "other").symlink_to(results.parent / "elsewhere")
    assert "4 linked or unreadable folders" in find([results]).remark and "and 1 more;" in find([results]).remark


def test_a_folder_with_nothing_but_links_says_what_to_name(results: Path) -> None:
    (results.parent / "links").mkdir()
    (results.parent / "links" / "all").symlink_to(results)
    with pytest.raises(UserError, match=r"no run folder there .*; 1 linked .* folder not searched .*links.all; name"):
        find([results.parent / "links"])


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is unreadable here")
def test_folders_that_may_not_be_read_are_named(results: Path) -> None:
    (results / "closed").mkdir(mode=0)
    assert results / "closed" in find([results]).unsearched


@pytest.mark.parametrize("damaged", ["3", "[[1]]", '"rank.csv"', "{"])
def test_a_damaged_list_of_what_was_left_out_is_one_line(results: Path, damaged: str) -> None:
    (results / "nusa" / "rank.csv").unlink(missing_ok=True)
    (results / "nusa" / LEFT_OUT).write_text(damaged)
    with pytest.raises(UserError, match=LEFT_OUT):
        RunFiles(results / "nusa").lacks("rank.csv")
