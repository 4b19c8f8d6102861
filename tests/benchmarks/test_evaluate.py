"""A model is tested without training it, or another run goes on from it: the real commands, on a tiny model."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import api as nb
from benchmarks import compare, evaluate
from benchmarks.run import main


SETTINGS: dict[str, Any] = {"iterations": 3, "batch_size": 4, "device": "cpu", "plots": False, "silent": True}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def learned(images: Path, tiny_clip: Path, results: Path) -> nb.Run:
    return nb.run("lora", f"folder:{images}", model=f"local-dir:{tiny_clip}", results=results, **SETTINGS)


def outcome_of(images: Path, results: Path, *words: object) -> tuple[Path, str]:
    """The run folder that `benchmarks.evaluate` names, and all that it prints."""
    fixed = ["--stream", f"folder:{images}", "--results", results, "--device", "cpu"]
    done = CliRunner().invoke(evaluate.main, [str(word) for word in (*fixed, *words)])
    assert done.exit_code == 0, done.output
    return Path(done.stdout.strip().rpartition("files: ")[2]), done.output


def refused(images: Path, results: Path, *words: object) -> str:
    fixed = ["--stream", f"folder:{images}", "--results", results, "--device", "cpu"]
    done = CliRunner().invoke(evaluate.main, [str(word) for word in (*fixed, *words)])
    assert done.exit_code == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return line


def test_a_runs_model_has_the_accuracies_that_the_run_ended_with(learned: nb.Run, images: Path, results: Path) -> None:
    folder, printed = outcome_of(images, results, "--pretrained", learned.folder)
    run = nb.load_runs(folder)[0]
    for identity in ("known", "unknown"):
        np.testing.assert_array_equal(run.accuracy[identity], [learned.accuracy[identity][-1]] * 4)
        assert f"{run.accuracy[identity][-1].mean():.1f}" in printed
    assert run.method.name == "Checkpoint" and run.about["start"]["strategy"] == "lora"
    assert run.about["weights_sha256"] == learned.about["weights_sha256"]  # that of the pretrained model
    again, printed = outcome_of(images, results, "--pretrained", learned.folder / "model.safetensors")
    assert again == folder and "evaluated before" in printed


def test_it_stands_beside_the_methods_with_last_alone(learned: nb.Run, images: Path, results: Path) -> None:
    outcome_of(images, results, "--pretrained", learned.folder)
    outcome_of(images, results, "--model", learned.config["model"])
    done = CliRunner().invoke(compare.main, [str(results), "--format", "json"])
    (group,) = json.loads(done.stdout)
    rows = {row[0]["text"]: [cell["value"] for cell in row[1:]] for row in group["tables"][0]["rows"]}
    name = next(row for row in rows if row.startswith("Checkpoint start_from=lora-seed42-"))
    last = learned.metrics["known"]["last"]
    assert rows[name] == [None, None, last, None, None] and rows["LoRA"][2] == last
    assert rows["Zero-shot"][:3] == pytest.approx([rows["Zero-shot"][0], *[learned.metrics["known"]["zero_shot"]] * 2])


def test_a_file_of_weights_by_itself_and_beside_what_it_was_trained_from(
    learned: nb.Run, images: Path, tiny_clip: Path, results: Path, tmp_path: Path
) -> None:
    file = shutil.copy(learned.folder / "model.safetensors", tmp_path / "joint.safetensors")
    model = ("--model", f"local-dir:{tiny_clip}", "--pretrained", file)
    alone, beside = (
        nb.load_runs(outcome_of(images, tmp_path, *model, *more)[0])[0] for more in ((), ("--trained-from", "own"))
    )
    for run in (alone, beside):
        np.testing.assert_array_equal(run.accuracy["known"][-1], learned.accuracy["known"][-1])
    assert alone.method.name == "Zero-shot" and alone.about["weights_sha256"] != learned.about["weights_sha256"]
    assert beside.method.name == "Checkpoint" and beside.about["weights_sha256"] == learned.about["weights_sha256"]


def test_wrong_models_are_refused_in_a_line(learned: nb.Run, images: Path, results: Path, tmp_path: Path) -> None:
    assert "no such file" in refused(images, tmp_path, "--pretrained", "nowhere.safetensors")
    assert "its model is local-dir:" in refused(images, tmp_path, "--model", "micro", "--pretrained", learned.folder)
    assert "goes with a weights file" in refused(
        images, tmp_path, "--pretrained", learned.folder, "--trained-from", "own"
    )
    assert "goes with --pretrained FILE" in refused(images, tmp_path, "--trained-from", "own")
    assert "--pretrained" in refused(images, tmp_path, "--model", "micro", "--pretrained", learned.folder)
    (tmp_path / "empty").mkdir()
    assert "is not a run folder" in refused(images, tmp_path, "--pretrained", tmp_path / "empty")
    assert not (tmp_path / "folder-images0").exists()


def test_a_second_stage_starts_where_the_first_ended_and_says_so(learned: nb.Run, images: Path, tmp_path: Path) -> None:
    second = nb.run(
        "nusa", f"folder:{images}", start_from=str(learned.folder), rank=4, results=tmp_path / "2", **SETTINGS
    )
    np.testing.assert_array_equal(second.accuracy["known"][0], learned.accuracy["known"][-1])
    third = nb.run("zeroshot", f"folder:{images}", start_from=str(second.folder), results=tmp_path / "3", **SETTINGS)
    np.testing.assert_array_equal(third.accuracy["known"][-1], second.accuracy["known"][-1])
    start = third.about["start"]
    assert (start["strategy"], start["tasks"], start["from"]) == ("nusa", list(second.tasks), str(second.folder))
    assert start["start"]["strategy"] == "lora" and start["start"]["weights_sha256"] == third.about["weights_sha256"]
    assert third.config["model"] == learned.config["model"]  # taken from the run


def test_a_second_stage_is_named_and_not_ranked_even_where_no_other_is(
    learned: nb.Run, images: Path, tmp_path: Path
) -> None:
    nb.run("nusa", f"folder:{images}", start_from=str(learned.folder), rank=4, results=tmp_path, **SETTINGS)
    done = CliRunner().invoke(compare.main, [str(tmp_path), "--format", "json"])
    (group,) = json.loads(done.stdout)
    (row,) = group["tables"][0]["rows"]
    assert row[0]["text"].startswith("NuSA-CL start_from=lora-seed42-") and not any(cell["mark"] for cell in row)
    assert any("what the model cost from which they start" in note for note in group["tables"][-1]["notes"])


def test_weights_that_have_changed_since_are_said(
    learned: nb.Run, images: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = shutil.copy(learned.folder / "model.safetensors", tmp_path / "some.safetensors")
    words = ("--model", f"local-dir:{tiny_clip}", "--pretrained", file)
    outcome_of(images, tmp_path, *words)
    assert "have changed" not in outcome_of(images, tmp_path, *words)[1]
    shutil.copy(tiny_clip / "open_clip_model.safetensors", file)
    assert "have changed since this run was made" in outcome_of(images, tmp_path, *words)[1]


def test_a_routed_method_is_more_than_its_model(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    stream, settings = f"folder:{images}", {**SETTINGS, "results": tmp_path}
    first = nb.run("diki", stream, model=f"local-dir:{tiny_clip}", length=2, **settings)
    assert first.about["routed"] is True
    assert "is not in its model" in refused(images, tmp_path, "--pretrained", first.folder).replace("are not", "is not")
    nb.run("nusa", stream, start_from=str(first.folder), rank=4, **settings)  # as a start it may serve


def test_other_pretrained_weights_than_the_run_began_with_are_refused(
    learned: nb.Run, images: Path, tmp_path: Path
) -> None:
    with pytest.raises(nb.UserError, match="its pretrained is None, not"):
        nb.run(
            "nusa", f"folder:{images}", start_from=str(learned.folder), pretrained=str(learned.folder / "model.safetensors"),
            results=tmp_path, **SETTINGS,
        )  # fmt: skip


def test_a_started_run_resumes_only_from_the_same_weights(
    learned: nb.Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = shutil.copytree(learned.folder, tmp_path / "first")
    words = [
        "--strategy",
        "nusa",
        "--stream",
        f"folder:{images}",
        "--start-from",
        first,
        "--rank",
        4,
        "--iterations",
        3,
    ]
    words += ["--batch-size", 4, "--results", tmp_path / "results", "--no-plots"]
    assert main([str(word) for word in words]) == 0
    (about,) = (tmp_path / "results").rglob("run.json")
    about.write_text(json.dumps({**json.loads(about.read_text()), "status": "interrupted", "start_sha256": "0"}))
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    assert "began with other weights to start from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [("status", "is failed, not finished"), ("model", "it has no model.safetensors"), ("gone", "no such run folder")],
)
def test_runs_from_which_none_can_start(
    change: str, message: str, learned: nb.Run, images: Path, tmp_path: Path
) -> None:
    first = shutil.copytree(learned.folder, tmp_path / "first")
    if change == "status":
        about = json.loads((first / "run.json").read_text())
        (first / "run.json").write_text(json.dumps({**about, "status": "failed"}))
    elif change == "model":
        (first / "model.safetensors").unlink()
    else:
        shutil.rmtree(first)
    with pytest.raises(nb.UserError, match=message):
        nb.run("nusa", f"folder:{images}", start_from=str(first), results=tmp_path / "results", **SETTINGS)
    assert not (tmp_path / "results").exists()


def test_weights_of_another_architecture_are_refused_before_training(
    learned: nb.Run, images: Path, tmp_path: Path
) -> None:
    file = shutil.copy(learned.folder / "model.safetensors", tmp_path / "tiny.safetensors")
    with pytest.raises(nb.UserError, match="not the weights of micro"):
        nb.run("nusa", "micro", start_from=str(file), results=tmp_path / "results", **SETTINGS)
    assert not list(tmp_path.rglob("run.json"))


def test_what_a_method_stores_besides_its_model_does_not_come_along(
    images: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream, settings = f"folder:{images}", {**SETTINGS, "results": tmp_path, "silent": False}
    first = nb.run("olora", stream, model=f"local-dir:{tiny_clip}", rank=2, **settings)
    nb.run("nusa", stream, start_from=str(first.folder), rank=4, **settings)
    assert "its model alone comes along, not what O-LoRA stores besides" in capsys.readouterr().err


def test_another_stream_has_its_own_tasks(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "iterations": 1, "order": "bees,ants", "shots": 1, "batch_size": 2}
    run = nb.run("lora", f"folder:{images}", model=f"local-dir:{tiny_clip}", results=tmp_path, **settings)
    shutil.copytree(images / "ants", tmp_path / "other" / "wasps")
    folder, _ = outcome_of(tmp_path / "other", tmp_path, "--pretrained", run.folder)
    assert nb.load_runs(folder)[0].tasks == ("wasps",)
