"""The predictions for every test image: against the logits themselves, in size, after a kill, and as confusion of tasks."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import api as nb
from benchmarks.experiment.backbones.loading import load_backbone
from benchmarks.experiment.predictions import Predictions
from benchmarks.experiment.setup import make_classifier
from benchmarks.images.decode import decode
from benchmarks.run import main
from benchmarks.runs.predictions import confusion, place
from benchmarks.streams.folder import build
from benchmarks.streams.orders import whole
from tests.conftest import interrupt_at


def learn(images: Path, tiny_clip: Path, results: Path, strategy: str = "nusa", **more: Any) -> nb.Run:
    settings: dict[str, Any] = {"iterations": 3, "batch_size": 4, "device": "cpu", "plots": False, "silent": True}
    settings |= {"rank": 4} if strategy == "nusa" else {}
    stream, model = f"folder:{images}", f"local-dir:{tiny_clip}"
    return nb.run(strategy, stream, model=model, results=results, predictions=True, **{**settings, **more})


def test_they_are_the_best_of_all_logits_and_give_the_accuracies(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    run = learn(images, tiny_clip, tmp_path)
    stream = whole(build(str(images)))
    backbone = load_backbone(f"local-dir:{tiny_clip}", str(run.folder / "model.safetensors"))
    classifier = make_classifier(backbone, stream).eval()
    first = 0
    for task in stream.tasks:
        found = run.predictions()[lambda table, name=task.name: table["task"] == name]
        logits = classifier.union_logits(decode(task.test, backbone.size)).numpy()
        assert found["image"].tolist() == list(range(len(task.test)))
        assert (found["label"].to_numpy() - first == task.test.labels).all()
        best = found[[f"best_{rank}" for rank in range(1, 6)]].to_numpy()
        scores = found[[f"score_{rank}" for rank in range(1, 6)]].to_numpy()
        # Tasks share names, and with them logits, whose order is that of their rounding: a matter of batch and processor.
        assert all(len(set(row)) == 5 for row in best.tolist())
        np.testing.assert_allclose(scores, -np.sort(-logits, axis=1)[:, :5], rtol=1e-5)
        np.testing.assert_allclose(scores, np.take_along_axis(logits, best, axis=1), rtol=1e-5)
        own = logits[:, first : first + len(task.class_names)]
        np.testing.assert_array_equal(found["own_best"], own.argmax(axis=1) + first)
        np.testing.assert_allclose(found["own_score"], own.max(axis=1), rtol=1e-5)
        first += len(task.class_names)
    names = np.array([name for task in stream.tasks for name in task.class_names])  # which tasks have in common
    for state in range(4):
        table = run.predictions(state)
        right = (table["own_best"] == table["label"]).groupby(table["task"], observed=True, sort=False).mean()
        np.testing.assert_allclose(100 * right, run.accuracy["known"][state])
        same = pd.Series(names[table["best_1"]] == names[table["label"]])
        right = same.groupby(table["task"], observed=True, sort=False).mean()
        np.testing.assert_allclose(100 * right, run.accuracy["unknown"][state])


def test_confusion_between_tasks_where_a_shared_name_is_the_images_own() -> None:
    names = [["red", "blue"], ["blue", "green"]]  # 0 1, 2 3
    table = pd.DataFrame({"task": ["a"] * 4 + ["b"] * 2, "best_1": [0, 2, 3, 3, 1, 0]})
    found = confusion(table, ["a", "b"], names)
    np.testing.assert_array_equal(found, [[50, 50], [50, 50]])  # blue of b is a's own, and blue of a is b's


def test_an_image_takes_at_most_40_bytes(tmp_path: Path) -> None:
    """With logits that nothing can compress, as many classes as MTIL has, and 20 000 images."""
    classes, count = [601, 600], 10_000
    labels = [torch.randint(0, each, (count,)) for each in classes]
    found = Predictions(["a", "b"], classes, labels, torch.device("cpu"))
    found.begin()
    for task in range(2):
        for first in range(0, count, 1000):
            scores = 30 * torch.randn(1000, sum(classes))
            found.watch(task, slice(first, first + 1000), scores, scores[:, found.own[task]])
    found.write(tmp_path, 0, is_first=True)
    assert place(tmp_path, 0).stat().st_size <= 40 * 2 * count


def test_every_state_is_there_after_a_kill_and_where_nothing_is_evaluated_again(
    images: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = learn(images, tiny_clip, tmp_path / "straight")
    with monkeypatch.context() as patch:
        interrupt_at(patch, "checkpoint.safetensors", 2)
        with pytest.raises(KeyboardInterrupt):
            learn(images, tiny_clip, tmp_path / "stopped")
    stopped = learn(images, tiny_clip, tmp_path / "stopped")
    for state in range(4):
        assert place(stopped.folder, state).read_bytes() == place(straight.folder, state).read_bytes()
    untrained = learn(images, tiny_clip, tmp_path, "zeroshot")
    assert len({place(untrained.folder, state).read_bytes() for state in range(4)}) == 1


def test_what_is_missing_is_said_in_a_line(
    images: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = learn(images, tiny_clip, tmp_path)
    with pytest.raises(nb.UserError, match=r"predictions/9\.parquet: no such file"):
        run.predictions(9)
    place(run.folder, 1).write_bytes(b"no parquet")
    with pytest.raises(nb.UserError, match=r"1\.parquet: damaged"):
        run.confusion(1)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("benchmarks.experiment.besides.find_spec", lambda name: None)
    assert main(["--predictions", "--results", str(tmp_path / "results")]) == 2
    assert 'needs pyarrow; pip install "nusa-bench[predictions]"' in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("best_1", 10**6, "they are damaged"),
        ("best_1", -1, "best_1 has values that are no indices"),
        ("label", 0.5, "label has values that are no indices"),
        ("own_score", np.nan, "its scores are not all numbers"),
        ("extra", 1, "damaged, its columns are task, image"),
        ("task", "dogs", "they are damaged"),
    ],
)
def test_damaged_predictions_are_no_answer(
    column: str, value: Any, message: str, images: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    run = learn(images, tiny_clip, tmp_path, "zeroshot")
    table = run.predictions()
    table[column] = value
    table.to_parquet(place(run.folder, 3))
    with pytest.raises(nb.UserError, match=message):
        run.confusion()
