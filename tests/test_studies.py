"""The studies: what each file says, its table and figure of made runs, the real command, and what is committed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from benchmarks.config.errors import UserError
from benchmarks.runs.pack import pack
from benchmarks.studies import base, page, values
from benchmarks.studies.data import FILE, left
from benchmarks.sweep.door import plan, shared_by_all
from tests.benchmarks.studies.made import cells, made, measured
from tests.conftest import ROOT


NAMES = list(base.questions())
QUICK = ("persistence", "rho", "saturation")  # by the real command in the default tests; the others in the slow ones
COMMITTED, FINDINGS = ROOT / "results" / "studies", ROOT / "docs" / "findings"


def study(*words: object) -> subprocess.CompletedProcess[str]:
    """`python -m benchmarks.study WORDS` as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.study", *map(str, words)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_study_fits_into_an_hour_and_a_page(name: str, tmp_path: Path) -> None:
    named = base.find(name)
    assert named.question.endswith("?") and len(named.question) <= page.WIDEST - len("# ")
    assert len(f"![{named.study.alt}]({name}.png)") <= page.WIDEST
    found = cells(named, tmp_path)
    seeds = {cell.request.config.common.seed for cell in found} or {cell["seed"] for cell in named.cells()}
    assert len(found) <= 90 and seeds == set(base.SEEDS)
    quick = cells(named, tmp_path, quick=True)
    assert len(quick) <= 8 and not {cell.folder for cell in quick} & {cell.folder for cell in found}


@pytest.mark.parametrize("name", NAMES)
def test_a_study_makes_its_table_and_figure_of_its_runs(name: str, tmp_path: Path) -> None:
    named = base.find(name)
    runs, rows = made(named, tmp_path), measured(named)
    text = page.tables(named, runs, rows)
    assert values.FEWER not in text and re.search(r"\d \\\[-?[\d.]", text)  # an interval
    assert isinstance(named.make(named.study.figure, runs, rows), Figure)
    first = type(runs)(run for run in runs if run.config["seed"] == base.SEEDS[0])
    few = page.tables(named, first, [row for row in rows if row.get("seed", base.SEEDS[0]) == base.SEEDS[0]])
    assert few.startswith(values.FEWER) and not re.search(r"\d \\\[", few)


def check_quick(name: str, results: Path) -> None:
    done = study(name, "--quick", "--results", results)
    if "has no bfloat16 arithmetic" in done.stderr:
        pytest.skip("this processor does not compute in bfloat16")
    assert done.returncode == 0, done.stderr
    text = (results / f"{name}.md").read_text()
    assert done.stdout.splitlines()[-2:] == [f"{results / name}.png", f"{results / name}.md"]
    assert (results / f"{name}.png").stat().st_size > 5_000 and "Not measured yet." in text and values.FEWER in text
    files = [cell.folder / "run.json" for cell in cells(base.find(name), results, quick=True)]
    files += [results / FILE] if base.find(name).study.data else []
    times = {file: file.stat().st_mtime_ns for file in files}
    again = study(name, "--quick", "--results", results)
    assert again.returncode == 0 and {file: file.stat().st_mtime_ns for file in files} == times
    assert (results / f"{name}.md").read_text() == text
    assert study(name, "--quick", "--results", results, "--page").stdout in text


@pytest.mark.parametrize("name", QUICK)
def test_the_quick_runs_of_some(name: str, tmp_path: Path) -> None:
    check_quick(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(NAMES) - set(QUICK)))
def test_the_quick_runs_of_the_others(name: str, tmp_path: Path) -> None:
    check_quick(name, tmp_path)


def test_a_page_keeps_what_is_written_by_hand(tmp_path: Path) -> None:
    named, place = base.find("persistence"), tmp_path / "persistence.md"
    page.renew(named, place, "| a |\n")
    first = place.read_text()
    assert first.count("| a |") == 1 and max(map(len, first.splitlines())) <= page.WIDEST
    place.write_text(first.replace("Not measured yet.", "Yes."))
    page.renew(named, place, r"| \1 |" + "\n")
    assert place.read_text() == first.replace("Not measured yet.", "Yes.").replace("| a |", r"| \1 |")


def test_a_page_without_a_place_for_the_tables_is_named(tmp_path: Path) -> None:
    place = tmp_path / "persistence.md"
    place.write_text("# Mine\n")
    with pytest.raises(UserError, match=r"persistence\.md: has no <!-- uv run .* <!-- end --> behind it"):
        page.renew(base.find("persistence"), place, "| a |\n")
    assert place.read_text() == "# Mine\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["persistense"], 'NAME: no study "persistense" (did you mean "persistence"?); known: '),
        (["persistence", "--stream", "mtil"], "--stream mtil: persistence is made for micro"),
        (
            ["persistence", "--page", "--results", "{}"],
            "{}: 75 of 75 runs are not there or not finished, first micro/nusa/",
        ),
        (["persistence", "--page", "--status"], "--status, --page: one of them at a time"),
        (["persistence", "--page", "--quick"], "--quick: name the folder of its runs with --results"),
    ],
)
def test_wrong_input_is_answered_in_a_line(words: list[str], message: str, tmp_path: Path) -> None:
    done = study(*(word.format(tmp_path) for word in words))
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {message.format(tmp_path)}")


def test_small_and_large_runs_are_not_mixed(tmp_path: Path) -> None:
    named = base.find("persistence")
    made(named, tmp_path)
    done = study("persistence", "--quick", "--results", tmp_path)
    assert done.returncode == 2 and "has runs of persistence without --quick; name another folder" in done.stderr


def test_packed_runs_are_found_and_not_done_again(tmp_path: Path) -> None:
    named = base.find("saturation")
    text = page.tables(named, made(named, tmp_path))
    pack(tmp_path, together=True, without=["spectrum.csv"])
    for cell in cells(named, tmp_path):
        shutil.rmtree(cell.folder)
    asked = study("saturation", "--results", tmp_path, "--status")
    assert asked.stdout == "9 runs: 9 finished\n", asked
    assert study("saturation", "--results", tmp_path, "--page").stdout == text


def committed() -> list[str]:
    """The studies with committed runs, or with committed data of those that only measure."""
    there = {name for name in NAMES if any((COMMITTED / name).rglob("*.runs.zip.xz"))}
    measured_only = {name for name in NAMES if not base.find(name).blocks() and (COMMITTED / name / FILE).is_file()}
    return sorted(there | measured_only)


@pytest.mark.parametrize("name", committed())
def test_committed_runs_are_those_of_the_study_and_its_page_tells_them(name: str) -> None:
    """The command has nothing left to do, and would print what the page has."""
    named = base.find(name)
    if blocks := named.blocks():
        asked = plan(blocks, shared_by_all(COMMITTED / name))
        assert {each.state for each in asked.standings} == {"finished"} and not asked.remarks
    assert not left(named.cells(), COMMITTED / name)
    text = (FINDINGS / f"{name}.md").read_text()
    assert f"\n\n{study(name, '--page').stdout}\n<!-- end -->" in text
    assert (FINDINGS / f"{name}.png").is_file()


def test_a_page_has_committed_runs() -> None:
    assert {name for name in NAMES if (FINDINGS / f"{name}.md").exists()} == set(committed())
