"""The cells of a sweep: folders, commands, and what is refused before any run begins."""

import json
import shlex

import numpy as np
import pytest

from benchmarks.config import command_line
from benchmarks.config.errors import UserError
from benchmarks.config.registry import strategy_of
from benchmarks.config.settings import HARNESS_NAMES
from benchmarks.experiment import door
from benchmarks.experiment.besides import besides
from benchmarks.sweep.cells import cells
from benchmarks.sweep.door import plan, run_plan, shared_by_all
from benchmarks.sweep.grid import Block
from benchmarks.sweep.options import Options
from benchmarks.sweep.states import note_failure
from tests.run_folders import write_run


TASKS = (
    "shapes",
    "arrows",
    "clocks",
    "colours",
    "counts",
    "digits",
    "frames",
    "letters",
    "patterns",
    "scans",
    "symbols",
)


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
        (
            [{"order": ["default", "I"]}],
            "two runs are the same, in an order by two names: .*seed42 and .*seed42,order=I",
        ),
        ([{"order": ["arrows,clocks"]}, {"order": ["clocks,arrows", "arrows, clocks"]}], "two runs"),
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
        besides(["nothing"])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--results .*file: not a folder"):
        shared_by_all(tmp_path / "file")
    asked = plan([Block({"seed": ["1"]})], shared_by_all(tmp_path / "file" / "results"))  # a plan alone writes nothing
    with pytest.raises(UserError, match="cannot be"):
        run_plan(asked, Options(), silent=True)


def test_each_run_gets_the_auxiliary_data_that_its_method_reads(tmp_path):
    (tmp_path / "texts").write_text("a\n")
    (tmp_path / "images").mkdir()
    given = {"auxiliary_texts": tmp_path / "texts", "auxiliary_images": tmp_path / "images"}
    made = found(tmp_path, {"strategy": ["nusa", "zscl", "moe_adapter"]}, **given)
    assert [(cell.request.places.auxiliary_images, cell.request.places.auxiliary_texts) for cell in made] == [
        (None, None), (tmp_path / "images", tmp_path / "texts"), (tmp_path / "images", None)
    ]  # fmt: skip
    texts = [command_line.parse(shlex.split(cell.request.command)[3:]).get("reference_texts") for cell in made]
    assert texts == [None, tmp_path / "texts", None]
    with pytest.raises(UserError, match=r"--reference-texts: no method of the sweep reads texts"):
        found(tmp_path, {"strategy": ["nusa", "moe_adapter"]}, **given)
    with pytest.raises(UserError, match=r"zscl reads images besides the tasks'; name them with --reference-images"):
        found(tmp_path, {"strategy": ["zscl"], "model": ["ViT-B-32"]}, auxiliary_texts=tmp_path / "texts")


@pytest.mark.parametrize(
    ("lines", "reads"),
    [
        ("from strategies.zscl import Plugin as Zscl\n\n\nclass Plugin(Zscl):\n    pass\n", ("images", "texts")),
        (
            "from strategies.finetune import Plugin\n\n\nclass Plugin(Plugin):\n    reads: tuple = ('texts',)\n",
            ("texts",),
        ),
        ("from strategies.base import StrategyPlugin\n\n\nclass Plugin(StrategyPlugin):\n    pass\n", ()),
        ("import strategies.zscl\n\n\nclass Plugin(strategies.zscl.Plugin):\n    pass\n", None),
        (
            "from strategies.finetune import Plugin\n\nREADS = ('images',)\n\n\nclass Plugin(Plugin):\n    reads = READS\n",
            None,
        ),
    ],
)
def test_what_an_own_method_reads_is_seen_in_its_source(tmp_path, lines, reads):
    (tmp_path / "own.py").write_text(
        "from pydantic.dataclasses import dataclass\n\n\n@dataclass(frozen=True)\nclass Settings:\n    pass\n\n\n"
        + lines
    )
    assert strategy_of(str(tmp_path / "own.py")).reads == reads


def test_a_method_whose_source_does_not_tell_is_imported(tmp_path):
    (tmp_path / "own.py").write_text(
        "from pydantic.dataclasses import dataclass\nfrom strategies.finetune import Plugin as Finetune\n\n"
        "READS = ('texts',)\n\n\n@dataclass(frozen=True)\nclass Settings:\n    pass\n\n\n"
        "class Plugin(Finetune):\n    reads = READS\n"
    )
    (tmp_path / "texts").write_text("a\n")
    (tmp_path / "images").mkdir()
    (cell,) = found(tmp_path, {"strategy": [str(tmp_path / "own.py")]}, auxiliary_texts=tmp_path / "texts")
    assert cell.request.places.auxiliary_texts
    with pytest.raises(UserError, match=r"--reference-images: no method of the sweep reads images"):
        found(tmp_path, {"strategy": [str(tmp_path / "own.py")]}, auxiliary_images=tmp_path / "images")


def test_switches_are_printed_as_switches(tmp_path):
    made = found(tmp_path, {"strategy": ["nusa"], "compile": ["true", "false"]})
    assert [command_line.parse(shlex.split(cell.request.command)[3:])["compile"] for cell in made] == [True, False]


def test_a_batch_that_no_task_has_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"here: --batch-size 100000: .* training images; take at most as many"):
        found(tmp_path, {"strategy": ["zeroshot", "nusa"], "batch_size": ["100000"]})
    assert found(tmp_path, {"strategy": ["zeroshot"], "batch_size": ["100000"]})


def test_finished_runs_of_other_code_are_counted_in_a_line(tmp_path):
    shared = shared_by_all(tmp_path / "results")
    for cell in found(tmp_path, {"seed": ["1", "2"]}):
        write_run(cell.folder, np.full((12, 11), 50.0), list(TASKS), **cell.request.config.flat())
        about = json.loads((cell.folder / "run.json").read_text())
        (cell.folder / "run.json").write_text(json.dumps({**about, "figures_version": {"method": 0}}))
    asked = plan([Block({"seed": ["1", "2", "3"]})], shared)
    assert [each.state for each in asked.standings] == ["finished", "finished", "to do"]
    (line,) = asked.remarks
    assert line.startswith("2 finished: this run was made by another version, whose results may differ")


def test_finished_runs_without_a_measurement_are_counted_in_a_line(tmp_path):
    shared = shared_by_all(tmp_path / "results", besides(["interference"], probe=["micro"], predictions=True))
    (cell,) = found(tmp_path, {"seed": ["1"]})
    write_run(cell.folder, np.full((12, 11), 50.0), list(TASKS), **cell.request.config.flat())
    (line,) = plan([Block({"seed": ["1", "2"]})], shared).remarks
    assert line.startswith("1 finished: --measure interference --probe micro --predictions adds nothing to them")
    assert shared.words[-5:] == ("--measure", "interference", "--probe", "micro", "--predictions")
    assert command_line.parse([*shared.words])["probe"] == ("micro",)


@pytest.mark.parametrize("state", ["interrupted", "failed"])
@pytest.mark.parametrize(
    ("changed", "message"),
    [({"strategy_sha256": "0"}, "began with other code of its strategy"), ({"figures_version": {}}, "another version")],
)
def test_an_unfinished_run_of_other_code_is_refused(tmp_path, state, changed, message):
    (cell,) = found(tmp_path, {"strategy": ["nusa"]})
    write_run(cell.folder, np.full((12, 11), 50.0), list(TASKS), **cell.request.config.flat())
    about = json.loads((cell.folder / "run.json").read_text())
    (cell.folder / "run.json").write_text(json.dumps({**about, "status": state, **changed}))
    if state == "failed":
        note_failure(cell.folder, "the loss is not finite", "")
    with pytest.raises(UserError, match=message):
        plan([Block({"strategy": ["nusa"]})], shared_by_all(tmp_path / "results"))


def test_an_unfinished_run_with_other_settings_is_refused(tmp_path):
    (cell,) = found(tmp_path, {"strategy": ["nusa"]})
    write_run(cell.folder, np.full((12, 11), 50.0), list(TASKS), **{**cell.request.config.flat(), "lr": 99.0})
    about = json.loads((cell.folder / "run.json").read_text())
    (cell.folder / "run.json").write_text(json.dumps({**about, "status": "interrupted"}))
    with pytest.raises(UserError, match=r"config\.yaml: the run there has lr 99\.0, not"):
        plan([Block({"strategy": ["nusa"]})], shared_by_all(tmp_path / "results"))


def test_a_finished_run_with_other_settings_is_refused(tmp_path):
    (cell,) = found(tmp_path, {"strategy": ["nusa"]})
    write_run(cell.folder, np.full((3, 2), 50.0), ["a", "b"], lr=99.0)
    with pytest.raises(UserError, match=r"config\.yaml: the run there has .*; choose another --results"):
        plan([Block({"strategy": ["nusa"]})], shared_by_all(tmp_path / "results"))
