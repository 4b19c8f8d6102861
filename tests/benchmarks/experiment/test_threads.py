"""The threads that a run starts: as many as there are processors, not as many for each task."""

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
import torch

from benchmarks.experiment import evaluation
from benchmarks.images import cache, decode
from benchmarks.images.opener import Opener
from benchmarks.runtime.progress import ProgressBar
from strategies.training import loader
from strategies.training.experiences import LabelledImages, make_benchmark
from tests.benchmarks.images.test_cache import many


SHARED = (decode.pool, cache._disk, loader._pool, evaluation._reader)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Thread]]:
    """The threads that are started in the test, as on 64 processors, with no pools before it and none left after it."""
    found: list[Thread] = []
    start = Thread.start

    def counted(thread: Thread) -> None:
        found.append(thread)
        start(thread)

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    monkeypatch.setattr(Thread, "start", counted)
    for each in SHARED:
        each.cache_clear()
    yield found
    for each in SHARED:
        each.cache_clear()  # a pool that nobody holds ends its threads


@pytest.mark.parametrize("is_cached", [True, False])
def test_a_hundred_tasks_on_64_processors_start_fewer_than_200_threads(
    is_cached: bool, tmp_path: Path, started: list[Thread]
) -> None:
    splits = many(110)
    with ProgressBar() as bar:
        opener = Opener(24, tmp_path / "cache" if is_cached else None, bar)
        opener.fill(splits)
        for split in splits:
            pixels, _ = opener.open(split, from_files=not is_cached)
            labels = torch.from_numpy(split.labels)
            data = make_benchmark([LabelledImages(pixels, labels)]).train_stream[0].dataset
            read = loader.Loader(data, range(4), 2, seed=None, threads=decode.threads())
            assert sum(len(images) for images, *_ in read) == 4
            assert sum(len(images) for _, images, _ in evaluation.batches(pixels, labels, torch.device("cpu"))) == 4
    assert decode.threads() == 64 and 0 < len(started) < 200
