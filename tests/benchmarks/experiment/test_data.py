"""A stream's images with and without the cache, in memory, with augmentation: the same pixels, named errors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.config.errors import UserError
from benchmarks.experiment.data import load
from benchmarks.images import opener
from benchmarks.images.augment import Cropped
from benchmarks.images.cached import Cached
from benchmarks.images.decode import FromFiles
from benchmarks.runtime.progress import ProgressBar
from benchmarks.streams.base import Source, Stream, Task
from strategies.training.loader import draw
from tests.benchmarks.images.test_cache import pictures


def stream(folder: Path) -> Stream:
    split = pictures(folder)
    train, test = split.take(np.array([0, 2, 4])), split.take(np.array([1, 3, 5]))
    task = Task("ants", ("a", "b"), ("a {}.",), train, test, Source("ants"))
    return Stream((task, replace(task, name="ants (2)")), {"default": ("ants", "ants (2)")}, "a test")


def test_the_cache_changes_no_pixel(tmp_path: Path) -> None:
    found = stream(tmp_path / "pictures")
    with ProgressBar() as bar:
        cached = load(found, 24, "none", tmp_path / "cache", bar)
        plain = load(found, 24, "none", None, bar)
    assert isinstance(cached.test[0].images, Cached) and isinstance(plain.test[0].images, FromFiles)
    assert cached.sha256 == plain.sha256
    for one, other in zip(cached.test, plain.test, strict=True):
        assert torch.equal(one.images[0:3], other.images[0:3])
    assert torch.equal(cached.train[1][2][0], plain.train[1][2][0])
    assert cached.test[0].images is cached.test[1].images  # one reader for what two tasks share


def test_only_what_the_tasks_need_is_decoded(tmp_path: Path) -> None:
    found = stream(tmp_path / "pictures")
    (tmp_path / "pictures" / "6.jpg").write_bytes(b"no picture")  # in no task
    with ProgressBar() as bar:
        load(found, 24, "none", tmp_path / "cache", bar)


def test_the_checksum_tells_other_pixels_labels_and_orders_apart(tmp_path: Path) -> None:
    found = stream(tmp_path / "pictures")
    task = found.tasks[0]
    other = replace(task, train=task.train.take(np.array([1, 0, 2])))
    relabelled = replace(task, test=replace(task.test, labels=np.array([0, 1, 0])))
    with ProgressBar() as bar:
        sums = {
            load(replace(found, tasks=(each,)), size, "none", None, bar).sha256[-1]
            for each, size in ((task, 24), (task, 25), (other, 24), (relabelled, 24))
        }
    assert len(sums) == 4


@pytest.mark.parametrize(("augmentation", "cached"), [("none", True), ("none", False), ("random-resized-crop", True)])
def test_a_bad_training_image_is_named_before_any_training(augmentation: str, cached: bool, tmp_path: Path) -> None:
    found = stream(tmp_path / "pictures")
    (tmp_path / "pictures" / "4.jpg").write_bytes(b"")
    with ProgressBar() as bar, pytest.raises(UserError, match=r"4\.jpg: not a readable image"):
        load(found, 24, augmentation, tmp_path / "cache" if cached else None, bar)  # type: ignore[arg-type]


def test_augmentation_crops_training_images_and_leaves_the_tests_alone(tmp_path: Path) -> None:
    found = stream(tmp_path / "pictures")
    with ProgressBar() as bar:
        data = load(found, 24, "random-resized-crop", tmp_path / "cache", bar)
    assert isinstance(data.train[0].images, Cropped) and isinstance(data.test[0].images, Cached)
    plain = FromFiles(found.tasks[0].train, 24)[1]
    assert torch.equal(data.train[0][1][0], plain)  # nothing is drawn outside the training loop
    token = draw.set((1, 1))
    assert not torch.equal(data.train[0][1][0], plain)
    draw.reset(token)


def test_a_training_set_that_two_tasks_share_is_checked_once_with_crops_too(tmp_path: Path) -> None:
    found = stream(tmp_path / "pictures")
    reads: list[int] = []
    whole = found.tasks[0].train
    images = replace(whole.images, read=lambda row: reads.append(row) or whole.images.read(row))  # type: ignore[func-returns-value]
    train = replace(whole, images=images)
    with ProgressBar() as bar:
        load(
            replace(found, tasks=tuple(replace(task, train=train) for task in found.tasks)),
            24,
            "random-resized-crop",
            tmp_path / "cache",
            bar,
        )
    assert sorted(reads) == [0, 2, 4]


def test_a_process_of_many_runs_reads_each_split_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a cache on disk; a changed picture is read again."""
    monkeypatch.setattr(opener, "KEPT", opener.Kept(wanted=True))
    with ProgressBar() as bar:
        found = stream(tmp_path / "pictures")
        one, two = (load(found, 24, "none", None, bar) for _ in range(2))
        assert two.sha256 == one.sha256 and two.test[0].images is one.test[0].images
        (tmp_path / "pictures" / "1.jpg").write_bytes((tmp_path / "pictures" / "0.jpg").read_bytes())
        other = load(found, 24, "none", None, bar)
    assert other.sha256 != one.sha256 and other.test[0].images is not one.test[0].images
