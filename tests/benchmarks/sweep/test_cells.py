"""The cells of a sweep: folders, commands, and what is refused before any run begins."""

import shlex

import numpy as np
import pytest

from benchmarks.config import command_line
from benchmarks.config.errors import UserError
from benchmarks.config.settings import HARNESS_NAMES
from benchmarks.experiment import door
from benchmarks.sweep.cells import cells
from benchmarks.sweep.door import plan, shared_by_all
from benchmarks.sweep.grid import Block
from tests.run_folders import write_run


def found(tmp_path, *blocks, **shared):
    return cells([Block(values, "here") for values in blocks], shared_by_all(tmp_path / "results", **shared))


def test_each_cell_is_an_ordinary_run(tmp_path):
    grid = {
        "strategy": ["nusa", "lora"],
        "order": ["random:3"],
        "matrices": [["q", "k"]],
        "lr": [{"default": "1e-4", "clocks": "1e-3"}],
        "compile": [False],
        "rho": [0.9],
    }
    made = found(tmp_path, grid)
    assert [cell.given["strategy"] for cell in made] == ["nusa", "lora"]
    for cell in made:
        words = shlex.split(cell.request.command)
        assert words[:3] == ["python", "-m", "benchmarks.run"]
        given = command_line.parse(words[3:])
        alone = door.request(
            {name: value for name, value in given.items() if name not in HARNESS_NAMES}, results=given["results"]
        )
        assert (alone.folder, alone.config.flat()) == (cell.folder, cell.request.config.flat())
        assert given["no_plots"]
        assert cell.tasks == 11
    assert made[0].name.startswith("micro/nusa/seed42,")


def test_options_of_all_runs_are_in_the_command(tmp_path):
    (tmp_path / "texts").write_text("a\n")
    made = found(
        tmp_path, {"strategy": ["zscl"]}, auxiliary_texts=tmp_path / "texts", use_cache=False, plots=True, data_root="d"
    )
    given = command_line.parse(shlex.split(made[0].request.command)[3:])
    assert given["reference_texts"] == tmp_path / "texts"
    assert given["no_cache"] and not given["no_plots"]
    assert str(given["data_root"]) == "d"


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([{"seed": ["42", "42"]}], "two runs have this folder, nusa seed=42 and nusa seed=42"),
        ([{"rho": ["0.9", "0.90"]}], "two runs have this folder, nusa rho=0.9 and nusa rho=0.90"),
        ([{"seed": ["42"]}, {"strategy": ["nusa"]}], "two runs have this folder"),
        ([{"rho": ["2"]}], "here: --rho: .*got '?2"),
        ([{"seed": ["x"]}], "here: --seed: .*got 'x'"),
        ([{"stream": ["micr"]}], "here: --stream: no stream"),
        ([{"order": ["III"]}], "here: .*III"),
        (
            [{"lr": [{"default": "1e-3", "clock": "1e-4"}]}],
            'here: --lr: no task or data set "clock" \\(did you mean "clocks"',
        ),
        ([{"stream": ["folder:nowhere"]}], "nowhere"),
        ([], "no run to do"),
    ],
)
def test_refused(tmp_path, blocks, message):
    with pytest.raises(UserError, match=message):
        found(tmp_path, *blocks)


def test_shared_options_are_checked(tmp_path):
    with pytest.raises(UserError, match=r"--reference-texts .*no such file"):
        shared_by_all(tmp_path, auxiliary_texts=tmp_path / "none")
    with pytest.raises(UserError, match="no measurement"):
        shared_by_all(tmp_path, measure=["nothing"])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        found(tmp_path / "file", {"seed": ["1"]})


def test_a_finished_run_with_other_settings_is_refused(tmp_path):
    (cell,) = found(tmp_path, {"strategy": ["nusa"]})
    write_run(cell.folder, np.full((3, 2), 50.0), ["a", "b"], lr=99.0)
    with pytest.raises(UserError, match=r"config\.yaml: the run there has .*; choose another --results"):
        plan([Block({"strategy": ["nusa"]})], shared_by_all(tmp_path / "results"))
