"""Runs through the real command on the genuine layouts with made pictures and a tiny CLIP: what each protocol records."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from benchmarks.run import main
from tests.benchmarks.test_run import fails, only_run
from tests.conftest import SHARED
from tests.layouts import accept_layouts, write_layout


NEEDED = ("DTD", "EuroSAT", "MNIST", "CIFAR100", "TinyImageNet")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    for name in NEEDED:
        write_layout(name, root)
    return root


@pytest.fixture(autouse=True)
def _layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    accept_layouts(monkeypatch)


def words(stream: str, root: Path, tiny_clip: Path, results: Path, *more: object) -> list[str]:
    fixed = ["--stream", stream, "--data-root", root, "--model", f"local-dir:{tiny_clip}", "--results", results]
    return [str(word) for word in [*fixed, "--iterations", 2, "--batch-size", 4, "--no-plots", *more]]


def rows(file: Path) -> list[list[str]]:
    with file.open() as opened:
        return list(csv.reader(opened))


def test_zero_shot_on_mtil_is_compared_with_the_published_row(
    root: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = words("mtil", root, tiny_clip, tmp_path, "--strategy", "zeroshot", "--order", "DTD,EuroSAT,MNIST")
    assert main(line) == 0
    shown = capsys.readouterr().out
    row = dict(zip(*rows(only_run(tmp_path) / "accuracy.csv")[:2], strict=True))
    for name, published in (("DTD", 44.6), ("EuroSAT", 54.9), ("MNIST", 59.4)):
        here = float(row[name])
        assert f"{here - published:+.1f}" in shown and f"{published}" in shown
    assert "more than 0.3 points off" in shown and "QuickGELU" in shown and "class names or templates" in shown


def test_the_protocol_is_written_into_the_run_folder(root: Path, tiny_clip: Path, tmp_path: Path) -> None:
    assert main(words("mtil", root, tiny_clip, tmp_path, "--order", "MNIST,EuroSAT", "--shots", 1, "--rank", 4)) == 0
    run = only_run(tmp_path)
    assert yaml.safe_load((run / "config.yaml").read_text())["shots"] == 1
    about = json.loads((run / "stream.json").read_text())
    assert "2303.06628" in about["protocol"] and about["identity"] == "known"
    mnist, eurosat = about["tasks"]
    assert (mnist["name"], mnist["train"], mnist["classes"]) == ("MNIST", 10, 10)
    assert mnist["class_names"][0] == "0 - zero" and mnist["templates"] == ['a photo of the number: "{}".']
    assert eurosat["class_names"][-1] == "lake or sea" and "seed 42" in eurosat["split"]
    assert all(eurosat[key] for key in ("licence", "citation", "origin", "expected"))


def test_class_incremental_reports_the_classes_seen_so_far(
    root: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words("cifar100:10", root, tiny_clip, tmp_path, "--order", "step-01,step-02,step-03", "--rank", 4)) == 0
    run = only_run(tmp_path)
    seen = rows(run / "accuracy_seen.csv")
    assert seen[1][1:] == ["", "", ""] and seen[2][2:] == ["", ""] and "" not in seen[4]
    steps = [sum(map(float, seen[2 + j][1 : 2 + j])) / (j + 1) for j in range(3)]  # test sets of equal size
    metrics = json.loads((run / "metrics.json").read_text())["seen"]
    assert metrics["steps"] == pytest.approx(steps)
    assert metrics["avg"] == pytest.approx(sum(steps) / 3) and metrics["last"] == pytest.approx(steps[-1])
    assert seen[4][1:] == rows(run / "accuracy_agnostic.csv")[4][1:]  # when all are learned, all compete
    assert "among the classes seen so far" in capsys.readouterr().out


def test_tiny_imagenet_begins_with_a_hundred_classes(root: Path, tiny_clip: Path, tmp_path: Path) -> None:
    tasks = ["--order", "base,step-01", "--rank", 4, "--iterations", "1,base=2"]
    assert main(words("tinyimagenet:10", root, tiny_clip, tmp_path, *tasks)) == 0
    base, step = json.loads((only_run(tmp_path) / "stream.json").read_text())["tasks"]
    assert (base["classes"], step["classes"]) == (100, 10) and base["class_names"][0] == "Persian cat"


def test_xtail_reports_the_matrix_of_unknown_tasks(
    root: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = ["--order", "DTD,EuroSAT", "--rank", 4]
    assert main(words("xtail", root, tiny_clip, tmp_path, *tasks)) == 0
    assert "classes have fewer than 16 training images" in capsys.readouterr().err
    about = json.loads((only_run(tmp_path) / "stream.json").read_text())
    assert about["identity"] == "unknown" and "2406.18868" in about["protocol"]
    assert [task["train"] for task in about["tasks"]] == [94, 52]  # of 94 and 56: one class has 20
    assert main(words("xtail", root, tiny_clip, tmp_path / "all", *tasks, "--shots", "all")) == 0
    assert yaml.safe_load((only_run(tmp_path / "all") / "config.yaml").read_text())["shots"] is None


def test_repeated_tasks_have_the_same_accuracies(root: Path, tiny_clip: Path, tmp_path: Path) -> None:
    line = words(
        "repeat:2", root, tiny_clip, tmp_path, "--order", "DTD,MNIST,DTD (2)", "--strategy", "lora", "--rank", 2
    )
    assert main(line) == 0
    run = only_run(tmp_path)
    assert run.parts[-3] == "repeat-2"
    for row in rows(run / "accuracy.csv")[1:]:
        assert row[1] == row[3]


def test_with_and_without_the_cache_the_figures_are_the_same(root: Path, tiny_clip: Path, tmp_path: Path) -> None:
    files = ("accuracy.csv", "accuracy_agnostic.csv", "rank.csv", "metrics.json", "model.safetensors")
    for augmentation in ("none", "random-resized-crop"):
        runs = []
        for place, more in (("cached", ["--cache", tmp_path / "cache"]), ("plain", ["--no-cache"])):
            results = tmp_path / augmentation / place
            tasks = ["--order", "DTD,MNIST", "--rank", 4, "--augmentation", augmentation]
            assert main(words("mtil", root, tiny_clip, results, *tasks, *more)) == 0
            runs.append(only_run(results))
        assert all((runs[0] / name).read_bytes() == (runs[1] / name).read_bytes() for name in files)
        sums = {json.loads((run / "run.json").read_text())["images_sha256"] for run in runs}
        assert len(sums) == 1
    assert list((tmp_path / "cache").iterdir())


def test_rates_by_task_reach_the_optimiser(
    root: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a rate far too small for one of two tasks, its update is far smaller."""
    tasks = ["--order", "DTD-1,DTD-2", "--rank", 4, "--iterations", "2,DTD-2=3", "--lr", "1e-2,DTD-2=1e-9"]
    assert main(words("mtil-split:2", root, tiny_clip, tmp_path, *tasks)) == 0
    run = only_run(tmp_path)
    with (run / "rank.csv").open() as file:
        norms = {
            (row["after"], row["block"]): row["update_norm"] for row in csv.DictReader(file) if row["matrix"] == "q"
        }
    assert float(norms["2", "0"]) < 1e-4 * float(norms["1", "0"])
    assert yaml.safe_load((run / "config.yaml").read_text())["lr"] == {"default": 0.01, "DTD-2": 1e-9}
    error = fails(words("mtil-split:2", root, tiny_clip, tmp_path / "no", *tasks[:2], "--lr", "1e-2,DDT=1"), capsys)
    assert '--lr: no task or data set "DDT" (did you mean "DTD"?)' in error


def test_missing_data_and_wrong_words(
    root: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def line(*more: object, stream: str = "mtil", data: Path = root) -> str:
        return fails(words(stream, data, tiny_clip, tmp_path / "results", *more), capsys)

    error = line()
    assert "Aircraft: " in error and "6 others" in error and "benchmarks.prepare --stream mtil" in error
    assert "data root" in line(data=tmp_path / "absent")
    assert 'did you mean "MNIST"' in line("--order", "MNST")
    assert "no class has so many" in line("--order", "DTD", "--shots", 1000)
    assert "cifar100:10, cifar100:20, cifar100:50" in line(stream="cifar100")
    assert "mtil-split:N" in line(stream="mtil-split:11")
    assert not (tmp_path / "results").exists()


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the private test data are not here")
def test_real_domains_from_end_to_end(tmp_path: Path) -> None:
    """Photographs and scans with the micro CLIP: NuSA-CL, few steps on the two smallest domains."""
    stream = f"folder:{SHARED / 'data' / 'real-domains'}"
    line = [
        "--stream",
        stream,
        "--order",
        "mnist,oxford_pets",
        "--iterations",
        "5",
        "--no-plots",
        "--results",
        str(tmp_path),
    ]
    assert main([*line, "--cache", str(tmp_path / "cache")]) == 0
    known = [[float(cell) for cell in row[1:]] for row in rows(only_run(tmp_path) / "accuracy.csv")[1:]]
    assert len(known) == 3 and all(0 <= cell <= 100 for row in known for cell in row)
    assert known[1][0] != known[0][0]
