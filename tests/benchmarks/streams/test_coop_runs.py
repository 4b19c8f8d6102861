"""The setting `--splits coop`: which streams take it, what a run on it records, and what `benchmarks.prepare` says."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from benchmarks import api as nb
from benchmarks.config.errors import UserError
from benchmarks.config.resolve import resolve
from benchmarks.datasets import coop
from benchmarks.experiment.data_files import digest
from benchmarks.prepare import main as prepare
from benchmarks.run import main
from benchmarks.streams.few_shot import few_shot
from benchmarks.streams.named import build_plan
from benchmarks.streams.orders import arrange, whole
from tests.benchmarks.streams.test_protocols import words
from tests.benchmarks.test_run import fails, only_run
from tests.conftest import interrupt_at
from tests.layouts import accept_layouts, coop_counts, write_layout, write_split_file


TASKS = ("DTD", "EuroSAT", "MNIST")
FILE = "split_zhou_DescribableTextures.json"


@pytest.fixture(autouse=True)
def _layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    accept_layouts(monkeypatch)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for name in TASKS:
        write_layout(name, root)
        if name in coop.FILES:
            write_split_file(name, root)
    return root


@pytest.fixture
def line(root: Path, tiny_clip: Path, tmp_path: Path) -> list[str]:
    tasks = ["--order", "DTD,EuroSAT", "--splits", "coop", "--strategy", "lora", "--rank", 2]
    return words("xtail", root, tiny_clip, tmp_path / "results", *tasks)


@pytest.mark.parametrize(
    ("stream", "order"),
    [
        ("mtil", ",".join(TASKS)),
        ("xtail", ",".join(TASKS)),
        ("mtil-split:5", "DTD-2,EuroSAT-5,MNIST-1"),
        ("repeat:2:xtail", "DTD,EuroSAT (2),MNIST"),
        ("validation:7:mtil", ",".join(TASKS)),
    ],
)
def test_streams_of_mtils_data_sets_take_it(stream: str, order: str, root: Path) -> None:
    ours, theirs = (arrange(build_plan(stream, root, splits), order) for splits in ("zscl", "coop"))
    assert "CoOp's splits" in theirs.protocol and theirs.protocol != ours.protocol and ours.identity == theirs.identity
    dtd, eurosat, mnist = theirs.tasks
    assert [task.name for task in theirs.tasks] == [task.name for task in ours.tasks]
    assert all(name.startswith("kind ") for task in (dtd, eurosat) for name in task.class_names)
    assert dtd.templates == ("a photo of a {}.",) and "satellite location" in eurosat.templates[0]
    assert mnist.class_names[0] == "0 - zero" and len(mnist.templates) == 1
    assert FILE in dtd.source.split


@pytest.mark.parametrize("stream", ["micro", "cifar100:10", "repeat:3:micro", "validation:7:tinyimagenet:5"])
def test_other_streams_name_those_that_take_it(stream: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        build_plan(stream, tmp_path, "coop")
    assert str(caught.value).startswith("--splits coop: ")
    assert str(caught.value).endswith(
        "has no such splits; these have: mtil, mtil-split, repeat, shifted, validation, xtail"
    )


def test_wrong_words_end_a_run_before_it_begins(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--splits: must be 'zscl' or 'coop', got 'cool'" in fails([*line, "--splits", "cool"], capsys)
    assert "these have: mtil" in fails([*line, "--stream", "cifar100:10", "--order", "default"], capsys)
    with pytest.raises(UserError, match="--splits: a stream of your own has its own splits"):
        resolve({"splits": "coop"}, own_stream="mine")
    with pytest.raises(UserError, match="splits: expected zscl or coop, got 'cool'"):
        nb.stream("xtail", splits="cool")  # type: ignore[arg-type]
    assert not (tmp_path / "results").exists()


def test_sixteen_images_are_the_default_and_another_number_can_be_had(root: Path) -> None:
    for stream in ("mtil", "xtail", "mtil-split:2", "repeat:2", "validation:7:mtil"):
        config = resolve({"stream": stream, "splits": "coop"})
        assert config.common.shots == 16 and config.label.startswith("seed42,splits=coop")
        assert resolve({"stream": stream, "splits": "coop", "shots": 5}).common.shots == 5
    assert resolve({"stream": "xtail", "splits": "coop"}).label == "seed42,splits=coop"
    assert resolve({"stream": "mtil", "splits": "coop", "shots": "all"}).label == "seed42,splits=coop,shots=None"
    assert resolve({"stream": "mtil"}).common.shots is None
    drawn = few_shot(arrange(nb.stream("xtail", root, "coop"), "EuroSAT"), 2, seed=42).tasks[0]
    assert np.bincount(drawn.train.labels).tolist() == [2] * 10 and len(drawn.test) == coop_counts("EuroSAT")["test"]


def test_a_run_records_its_splits_and_is_not_done_again(
    line: list[str], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line) == 0
    run = only_run(tmp_path / "results")
    assert "splits=coop" in run.name
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert (settings["splits"], settings["shots"]) == ("coop", 16)
    about = json.loads((run / "stream.json").read_text())
    assert "CoOp's splits" in about["protocol"] and about["identity"] == "unknown"
    assert [task["test"] for task in about["tasks"]] == [47, 10]
    before = (run / "accuracy.csv").read_bytes()
    assert main(line) == 0 and "have changed" not in capsys.readouterr().err
    file = root / "dtd" / FILE
    lists = json.loads(file.read_text())
    lists["train"][0], lists["train"][1] = lists["train"][1], lists["train"][0]
    file.write_text(json.dumps(lists))  # as long as before
    assert main(line) == 0 and "the files that xtail reads have changed" in capsys.readouterr().err
    assert (run / "accuracy.csv").read_bytes() == before
    assert main([*line, "--splits", "zscl"]) == 0  # a run of its own
    assert len(list((tmp_path / "results").rglob("config.yaml"))) == 2


def test_a_run_is_resumed_on_the_same_split_alone(
    line: list[str], root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, "checkpoint.safetensors", 2)  # the first task is learned
        assert main(line) == 130
    file = root / "dtd" / FILE
    text = file.read_text()
    lists = json.loads(text)
    lists["train"][0][0], lists["train"][-1][0] = lists["train"][-1][0], lists["train"][0][0]
    file.write_text(json.dumps(lists))
    assert "began with other images" in fails(line, capsys)
    file.write_text(text)
    assert main(line) == 0


def test_absent_images_end_it_in_one_line(
    line: list[str], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for image in list((root / "dtd" / "dtd" / "images" / "banded").iterdir()):
        image.unlink()
    error = fails(line, capsys)
    assert "DTD: 2 of 94 train images are missing, first " in error and FILE in error
    assert not (tmp_path / "results").exists()


def test_a_split_file_is_digested_whole_and_where_it_lies(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.runtime.files.READ_WHOLE", 0)  # as if the data were large
    monkeypatch.setattr("benchmarks.runtime.files.SAMPLE_BYTES", 0)
    before = digest("xtail", ["DTD", "MNIST"], root, "coop")
    assert before and len(before) == 64 and before != digest("xtail", ["DTD", "MNIST"], root)
    file = root / "dtd" / FILE
    file.write_text(file.read_text().replace("kind_46", "kind_64"))
    assert digest("xtail", ["MNIST", "DTD"], root, "coop") not in (None, before)


def test_prepare_says_which_file_is_missing_and_where_it_belongs(root: Path) -> None:
    def said() -> tuple[int, str]:
        order = CliRunner().invoke(prepare, ["--stream", "xtail", "--splits", "coop", "--data-root", str(root)])
        return order.exit_code, next(text for text in order.stdout.splitlines() if text.startswith("DTD"))

    assert said() == (2, "DTD           complete    94 training images, 47 test images, 47 classes")
    (root / "dtd" / FILE).unlink()
    status, text = said()
    assert status == 2 and f"incomplete  no {FILE} in {root}/dtd; put {FILE}" in text and "DATA_ROOT/dtd" in text
    wrong = CliRunner().invoke(prepare, ["--splits", "cool"])
    assert wrong.exit_code == 2 and "'zscl', 'coop'" in wrong.stderr and wrong.stderr.count("\n") == 1


def test_missing_data_sets_are_shown_by_the_same_splits(root: Path) -> None:
    with pytest.raises(UserError, match=r"benchmarks\.prepare --stream xtail --splits coop --data-root"):
        whole(build_plan("xtail", root, "coop"))
